// The way from socket to socket that bytes on this machine may take besides TCP
// (redirect-bpf/README.md, joined sockets), as far as streams need to know of it. It is for small
// messages; a stream that carries much says so.
#pragma once

namespace weir::net {

class ShortWay {
public:
  virtual ~ShortWay() = default;

  // This socket of the proxy, and the other end of its connection, are to go by TCP alone from now
  // on, also when they never did anything else. True: they do. False: what went the short way has
  // not all been read; to be asked again. Any thread, but nobody writes on the socket meanwhile.
  virtual bool leave(int socket) const = 0;
};

} // namespace weir::net
