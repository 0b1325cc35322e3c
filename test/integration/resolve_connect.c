// Resolves NAME with the C library it is linked with and connects to each address at once: prints
// "ADDRESS ok" or what went wrong. Built with musl, whose resolver asks its servers at the same
// time, for A and AAAA at once, and takes the first answer.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int main(int argc, char** argv) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo* found = NULL;
  if (argc != 3) {
    return 2;
  }
  const int failed = getaddrinfo(argv[1], argv[2], &hints, &found);
  if (failed != 0) {
    printf("%s\n", gai_strerror(failed));
    return 1;
  }
  int result = 0;
  for (struct addrinfo* at = found; at != NULL; at = at->ai_next) {
    char text[INET6_ADDRSTRLEN];
    getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    const int fd = socket(at->ai_family, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int refused = connect(fd, at->ai_addr, at->ai_addrlen);
    printf("%s %s\n", text, refused == 0 ? "ok" : strerror(errno));
    result |= refused != 0;
    close(fd);
  }
  freeaddrinfo(found);
  return result;
}
