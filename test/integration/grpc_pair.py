#!/usr/bin/python3
"""A gRPC server and client without message types: bytes in, bytes out.

Usage: grpc_pair.py serve ADDRESS              prints "ready", then serves /pkg.Svc/*
       grpc_pair.py call ADDRESS METHOD COUNT  calls it, then streams COUNT messages both ways;
                                               prints the outcome of each
       grpc_pair.py mix ADDRESS COUNT          COUNT calls of Ok and of No at the same time on one
                                               connection; prints how many came to what
"""
import collections
import concurrent.futures
import sys

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method.endswith("Stream"):
            return grpc.stream_stream_rpc_method_handler(lambda requests, _: (b"re:" + r for r in requests))
        return grpc.unary_unary_rpc_method_handler(lambda request, _: b"re:" + request)


def serve(address):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Echo()])
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


def outcome(call):
    try:
        return f"OK {call()}"
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"


def call(address, method, count):
    # No proxy of the environment, and the name that the server is asked for by address.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        unary = channel.unary_unary(f"/pkg.Svc/{method}")
        print(outcome(lambda: unary(b"hello", timeout=5).decode()))
        stream = channel.stream_stream(f"/pkg.Svc/{method}Stream")
        messages = (b"x" * 10000 for _ in range(count))
        print(outcome(lambda: sum(len(answer) for answer in stream(messages, timeout=20))))


def mix(address, count):
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        methods = [channel.unary_unary(f"/pkg.Svc/{name}") for name in ("Ok", "No")]
        calls = [method.future(b"x" * 2000, timeout=20) for _ in range(count) for method in methods]
        outcomes = collections.Counter(call.code().name for call in calls)
        print(*(f"{name} {outcomes[name]}" for name in sorted(outcomes)))


if sys.argv[1] == "serve":
    serve(sys.argv[2])
elif sys.argv[1] == "mix":
    mix(sys.argv[2], int(sys.argv[3]))
else:
    call(sys.argv[2], sys.argv[3], int(sys.argv[4]))
