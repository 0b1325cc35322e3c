# weir-proxy and weirctl on Debian 13: one stage builds, the other holds what they link.
FROM debian:13 AS build
WORKDIR /src
COPY test/tools/setup.sh test/tools/setup.sh
RUN test/tools/setup.sh build
COPY . .
RUN cmake --preset release -DBUILD_TESTING=OFF \
 && cmake --build --preset release --target weir-proxy weirctl

FROM debian:13-slim
COPY test/tools/setup.sh /tmp/setup.sh
RUN /tmp/setup.sh run && rm -rf /tmp/setup.sh /var/lib/apt/lists/*
COPY --from=build /src/build/release/bin/weir-proxy /src/build/release/bin/weirctl /usr/local/bin/
ENTRYPOINT ["weir-proxy"]
CMD ["--config", "/etc/weir/weir.yaml"]
