// As resolve_connect.c, with c-ares for the resolver: looks NAME up as /etc/resolv.conf says, its
// search list included, and connects at once.
//   resolve_connect_cares NAME PORT
#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static int x_status = -1;

static void connect_to(void* port, int status, int timeouts, struct ares_addrinfo* found) {
  (void)timeouts;
  if (status != ARES_SUCCESS) {
    fprintf(stderr, "%s\n", ares_strerror(status));
    x_status = 1;
    return;
  }
  x_status = 2;
  for (const struct ares_addrinfo_node* at = found->nodes; at != NULL && x_status != 0;
       at = at->ai_next) {
    struct sockaddr_storage address = {0};
    memcpy(&address, at->ai_addr, at->ai_addrlen);
    const in_port_t port_be = htons((unsigned short)atoi(port));
    if (at->ai_family == AF_INET) {
      ((struct sockaddr_in*)&address)->sin_port = port_be;
    } else {
      ((struct sockaddr_in6*)&address)->sin6_port = port_be;
    }
    const int fd = socket(at->ai_family, SOCK_STREAM, 0);
    const struct timeval patience = {3, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    x_status = connect(fd, (struct sockaddr*)&address, at->ai_addrlen) == 0 ? 0 : 3;
    if (x_status != 0) {
      perror("connect");
    }
    close(fd);
  }
  ares_freeaddrinfo(found);
}

int main(int argc, char** argv) {
  ares_channel channel;
  if (argc != 3 || ares_library_init(ARES_LIB_INIT_ALL) != 0 || ares_init(&channel) != 0) {
    return 4;
  }
  const struct ares_addrinfo_hints hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  ares_getaddrinfo(channel, argv[1], NULL, &hints, connect_to, argv[2]);
  while (x_status < 0) {
    fd_set readers, writers;
    FD_ZERO(&readers);
    FD_ZERO(&writers);
    const int count = ares_fds(channel, &readers, &writers);
    struct timeval limit = {5, 0}, room;
    if (count == 0 ||
        select(count, &readers, &writers, NULL, ares_timeout(channel, &limit, &room)) < 0) {
      break;
    }
    ares_process(channel, &readers, &writers);
  }
  ares_destroy(channel);
  return x_status < 0 ? 5 : x_status;
}
