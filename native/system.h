// The system calls: the only file of the project that makes them. Every one is recorded in a ledger.
#ifndef SPANHEAP_SYSTEM_H_
#define SPANHEAP_SYSTEM_H_

#include <cstddef>
#include <cstdint>

#include "ledger.h"

namespace spanheap::system {

struct Mapped {
  char* address;  // nullptr when refused
  int error;      // errno, 0 on success
};

// The unit in which the system maps and releases: 4 KiB on most machines, 16 KiB on Apple silicon.
size_t PageSize();

// Address space that reads as zeros, isn't charged to any process and can't be written.
Mapped Reserve(Ledger& ledger, size_t length);
// Makes a part of a reservation writable. Its contents are zero. This is the call that costs memory. Returns errno.
int Grow(Ledger& ledger, char* address, size_t length);
// A private writable mapping.
Mapped Map(Ledger& ledger, size_t length);
// Gives the pages back and keeps the addresses: they read as zeros afterwards. Returns errno.
int Release(Ledger& ledger, char* address, size_t length);
// Asks for plain pages, so that a sparse table isn't backed in units of 2 MiB. Linux only; elsewhere no call is made.
void AvoidHugePages(Ledger& ledger, char* address, size_t length);
// Gives the addresses back too. Returns errno.
int Unmap(Ledger& ledger, char* address, size_t length);

}  // namespace spanheap::system

#endif  // SPANHEAP_SYSTEM_H_
