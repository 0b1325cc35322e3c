# HTTP/2: streams joined and judged, without the policy's data behind it.
weir_library(weir_http2_session
  SOURCES http2_bridge.cc http2_session.cc http2_upstream.cc
  DEPS weir_http2 weir_http_session weir_net)
