weir_library(weir_dns_session
  SOURCES dns_gate_policy.cc dns_reply_socket.cc dns_service.cc dns_session.cc dns_tcp_session.cc
          dns_tcp_upstream.cc dns_udp_upstream.cc dns_upstream.cc
  DEPS weir_base weir_dns weir_runtime weir_session)
