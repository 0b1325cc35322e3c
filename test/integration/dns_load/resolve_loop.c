// Asks for nNUMBER.example.test again and again, A and AAAA in turn.
//   resolve_loop connect SERVER COUNT NAMES   and connects to each address the moment it is known
//   resolve_loop ask     SERVER COUNT NAMES   waits for each answer
//   resolve_loop flood   SERVER COUNT NAMES   waits for none
// A question without an answer is asked again, as resolvers do.
// Prints "FAILURES of COUNT failed, RETRIES again, TRIES tries at most, p99 MICROSECONDS us" of
// what was waited for; SIGTERM ends it sooner, with the count so far.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// While it asks alone, a question that was lost is what counts, and no machine is as slow as that.
enum { kPatience = 2000, kLongPatience = 5000, kTries = 5, kA = 1, kAaaa = 28 };

static volatile sig_atomic_t x_stop;
static void stop(int signal) { x_stop = signal; }

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static size_t question(uint8_t* message, uint16_t id, unsigned number, int type) {
  const uint8_t header[] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  memcpy(message, header, sizeof header);
  char* label = (char*)message + sizeof header;
  const int length = sprintf(label + 1, "n%u", number);
  label[0] = (char)length;
  static const uint8_t rest[] = "\7example\4test";
  memcpy(label + 1 + length, rest, sizeof rest); // with its final 0
  uint8_t* end = (uint8_t*)label + 1 + length + sizeof rest;
  const uint8_t tail[] = {0, (uint8_t)type, 0, 1};
  memcpy(end, tail, sizeof tail);
  return (size_t)(end - message) + sizeof tail;
}

static int wait_for(int fd, short events, int patience) {
  struct pollfd waiting = {.fd = fd, .events = events};
  int ready = 0;
  do {
    ready = poll(&waiting, 1, patience);
  } while (ready < 0 && errno == EINTR);
  return ready == 1 ? 0 : -1;
}

// 0: connected within the time.
static int connect_to(int family, const uint8_t* address) {
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
  memcpy(&v6.sin6_addr, address, family == AF_INET6 ? 16 : 0);
  memcpy(&v4.sin_addr, address, family == AF_INET ? 4 : 0);
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const struct linger reset = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  int failed = family == AF_INET ? connect(fd, (struct sockaddr*)&v4, sizeof v4)
                                 : connect(fd, (struct sockaddr*)&v6, sizeof v6);
  if (failed != 0 && errno == EINPROGRESS) {
    failed = wait_for(fd, POLLOUT, kPatience);
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    failed |= error;
  }
  close(fd);
  return failed;
}

static int by_size(const void* a, const void* b) {
  const uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char** argv) {
  const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST};
  struct addrinfo* server = NULL;
  if (argc != 5 || getaddrinfo(argv[2], "53", &hints, &server) != 0) {
    return 2;
  }
  const int connects = strcmp(argv[1], "connect") == 0, floods = strcmp(argv[1], "flood") == 0;
  const int patience = connects ? kPatience : kLongPatience;
  const unsigned wanted = (unsigned)atol(argv[3]), names = (unsigned)atol(argv[4]);
  uint32_t* times = calloc(wanted, sizeof *times);
  unsigned failures = 0, retries = 0, most_tries = 0, count = 0;
  const struct sigaction on_stop = {.sa_handler = stop, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &on_stop, NULL);
  int fd = -1;
  for (unsigned i = 0; i < wanted && !x_stop; ++i) {
    ++count;
    if (!floods || fd < 0) { // a resolver takes another port for each question
      close(fd);
      fd = socket(server->ai_family, SOCK_DGRAM, 0);
      if (connect(fd, server->ai_addr, server->ai_addrlen) != 0) {
        perror("connect");
        return 1;
      }
    }
    const int type = i % 2 == 0 ? kA : kAaaa;
    uint8_t message[512];
    const size_t size = question(message, (uint16_t)i, i / 2 % names, type);
    const uint64_t begin = now_us();
    if (floods) {
      send(fd, message, size, 0);
      continue;
    }
    const size_t data = type == kA ? 4 : 16;
    ssize_t got = -1;
    for (int try = 0; got < 0 && try < kTries; ++try) {
      retries += try > 0;
      most_tries = (unsigned)try + 1 > most_tries ? (unsigned)try + 1 : most_tries;
      if (send(fd, message, size, 0) == (ssize_t)size && wait_for(fd, POLLIN, patience) == 0) {
        got = recv(fd, message, sizeof message, 0);
      }
    }
    if (got < (ssize_t)(size + 12 + data) || (message[3] & 15) != 0) {
      printf("question %u: %s\n", i, got < 0 ? "no answer" : "no address");
      ++failures;
      continue;
    }
    times[i] = (uint32_t)(now_us() - begin);
    if (connects && connect_to(type == kA ? AF_INET : AF_INET6, message + got - data) != 0) {
      printf("question %u: no connection\n", i);
      ++failures;
    }
  }
  qsort(times, count, sizeof *times, by_size);
  printf("%u of %u failed, %u again, %u tries at most, p99 %u us\n", failures, count, retries,
         most_tries, count > 0 ? times[count - count / 100 - 1] : 0);
  return failures != 0;
}
