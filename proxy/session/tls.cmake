# TLS judged by its server name, without the policy's data behind it.
weir_library(weir_tls_session
  SOURCES tls_session.cc
  DEPS weir_base weir_runtime weir_net weir_tls)

# The same behind a PolicyGate, for sockets that a listener accepted.
weir_library(weir_tls_handler
  SOURCES tls_connector.cc tls_contexts.cc tls_gate_judge.cc tls_handler.cc tls_intercept.cc
  DEPS weir_tls_session weir_session OpenSSL::SSL)
