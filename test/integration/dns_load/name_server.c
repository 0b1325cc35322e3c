// Answers A and AAAA questions for nNUMBER.example.test over UDP: the address has the number as its
// low bits, the TTL is 0. Whatever else is asked does not exist.
//   name_server ADDRESS PORT
#include <arpa/inet.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { kHeader = 12, kA = 1, kAaaa = 28 };

// The size of the answer that `message`, a question of `size` bytes, becomes; 0: none.
static size_t answer(uint8_t* message, size_t size) {
  size_t at = kHeader;
  while (at < size && message[at] != 0) {
    at += 1 + message[at];
  }
  const size_t end = at + 5;
  if (end > size || (message[2] & 0x80) != 0) {
    return 0;
  }
  const unsigned type = message[at + 1] << 8 | message[at + 2];
  message[2] |= 0x84; // an answer, with authority
  message[3] = 0;
  memset(message + 6, 0, 6);
  if (message[kHeader + 1] != 'n' || (type != kA && type != kAaaa)) {
    message[3] = 3;
    return end;
  }
  const uint32_t number = (uint32_t)strtoul((const char*)message + kHeader + 2, NULL, 10);
  const uint8_t record[] = {0xc0, kHeader, 0, (uint8_t)type, 0, 1, 0, 0, 0, 0, 0};
  message[7] = 1;
  memcpy(message + end, record, sizeof record);
  uint8_t* data = message + end + sizeof record;
  if (type == kA) {
    const uint32_t address = htonl(0xc6120000u | (number & 0x1ffff)); // 198.18.0.0/15
    *data = 4;
    memcpy(data + 1, &address, 4);
    return end + sizeof record + 5;
  }
  const uint32_t low = htonl(number);
  *data = 16;
  inet_pton(AF_INET6, "2001:db8:5::", data + 1);
  memcpy(data + 13, &low, 4);
  return end + sizeof record + 17;
}

int main(int argc, char** argv) {
  const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST};
  struct addrinfo* own = NULL;
  if (argc != 3 || getaddrinfo(argv[1], argv[2], &hints, &own) != 0) {
    return 2;
  }
  const int fd = socket(own->ai_family, SOCK_DGRAM, 0);
  const int room = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room); // beyond rmem_max
  if (bind(fd, own->ai_addr, own->ai_addrlen) != 0) {
    perror("bind");
    return 1;
  }
  for (;;) {
    uint8_t message[1024];
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    const ssize_t got = recvfrom(fd, message, 512, 0, (struct sockaddr*)&from, &length);
    const size_t size = got > kHeader ? answer(message, (size_t)got) : 0;
    if (size > 0) {
      sendto(fd, message, size, 0, (struct sockaddr*)&from, length);
    }
  }
}
