// The one translation unit that carries Boost.JSON's implementation.
#include <boost/json/src.hpp>
