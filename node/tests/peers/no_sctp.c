/* Preloaded into osmo-msc, which does not start on a kernel without SCTP, though nothing here speaks it: its SGs server and M3UA client get
   a TCP socket that nobody connects to. The A interface of the tests is IPA over TCP. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol)
{
    int (*next)(int, int, int) = dlsym(RTLD_NEXT, "socket");
    return next(domain, type, protocol == IPPROTO_SCTP ? IPPROTO_TCP : protocol);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
    return level == IPPROTO_SCTP ? 0 : next(fd, level, name, value, length);
}
