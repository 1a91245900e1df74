/* Sends UDP datagrams as fast as one core can, or at a rate: 16 with one call, which the kernel takes apart (UDP_SEGMENT).
 * FROM PORT TO PORT SECONDS BYTES PREFIX RATE: every payload begins with PREFIX, in hexadecimal; RATE per second, 0: no limit;
 * prints how many were sent */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SEGMENTS 16
#define LARGEST 1400
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static char data[SEGMENTS * LARGEST];

static struct sockaddr_in endpoint(const char *address, const char *port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, address, &at.sin_addr);
  return at;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 9) return 2;
  struct sockaddr_in own = endpoint(argv[1], argv[2]), to = endpoint(argv[3], argv[4]);
  double seconds = atof(argv[5]), rate = atof(argv[8]);
  int bytes = atoi(argv[6]), one = 1;
  if (bytes < 1 || bytes > LARGEST) return 2;
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(s, (struct sockaddr *)&own, sizeof own) != 0 || connect(s, (struct sockaddr *)&to, sizeof to) != 0 ||
      setsockopt(s, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof bytes) != 0) {
    perror("socket");
    return 1;
  }
  for (int segment = 0; segment < SEGMENTS; segment++) {
    for (size_t at = 0; 2 * at + 1 < strlen(argv[7]); at++) {
      unsigned value;
      sscanf(argv[7] + 2 * at, "%2x", &value);
      data[segment * bytes + at] = (char)value;
    }
  }
  long sent = 0;
  double start = now();
  for (double at; (at = now()) < start + seconds;) {
    if (rate > 0 && sent > (at - start) * rate) continue;
    if (send(s, data, SEGMENTS * bytes, 0) > 0) {
      sent += SEGMENTS;
    } else if (errno != ECONNREFUSED && errno != ENOBUFS) {
      perror("send");
      return 1;
    }
  }
  printf("%ld\n", sent);
  return 0;
}
