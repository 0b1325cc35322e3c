// The one translation unit that carries the implementation of Asio's TLS.
#include <boost/asio/ssl/impl/src.hpp>
