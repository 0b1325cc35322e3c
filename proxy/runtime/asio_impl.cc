// The one translation unit that carries Boost.Asio's implementation.
#include <boost/asio/impl/src.hpp>
