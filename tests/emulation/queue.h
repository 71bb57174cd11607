/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>

/* Between the threads that hand over and the one that works. A mutex would
 * also order the worker before those who hand over later, and the thread
 * sanitizer would not see the fence that is missing there; here, knowledge
 * passes one way only. */

namespace pt_emulation
{

using Number = std::atomic < int >;

static inline void
futex_wait (Number * number, int seen)
{
  syscall (SYS_futex, number, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}

static inline void
futex_wake (Number * number)
{
  syscall (SYS_futex, number, FUTEX_WAKE_PRIVATE, __INT_MAX__, nullptr,
      nullptr, 0);
}

/* Reached once, for good. */
class Point
{
  Number reached = 0;
  std::chrono::steady_clock::time_point when;

public:
  void reach ()
  {
    when = std::chrono::steady_clock::now ();
    reached.store (1, std::memory_order_release);
    futex_wake (&reached);
  }

  bool is_reached () const
  {
    return reached.load (std::memory_order_acquire) != 0;
  }

  /* Of a point that is reached. */
  std::chrono::steady_clock::time_point get_time () const
  {
    return when;
  }

  void wait ()
  {
    while (!is_reached ())
      futex_wait (&reached, 0);
  }
};

/* Open at first. */
class Gate
{
  Number closed = 0;

public:
  void close (bool close)
  {
    closed.store (close, std::memory_order_release);
    futex_wake (&closed);
  }

  void pass ()
  {
    while (closed.load (std::memory_order_acquire))
      futex_wait (&closed, 1);
  }
};

struct Item
{
  std::function < void () > work;
  bool always = false;          /* even after the GPU failed */
  bool last = false;
};

/* Any thread pushes, one pops. */
class Queue
{
  struct Node
  {
    std::atomic < Node * > next = nullptr;
    Item item;
  };

  std::atomic < Node * > newest;
  Node *oldest;                 /* popped already */
  Number pushed = 0;

public:
  Queue ()
  {
    newest = oldest = new Node;
  }

  ~Queue ()
  {
    while (oldest != nullptr) {
      Node *next = oldest->next.load ();

      delete oldest;
      oldest = next;
    }
  }

  void push (Item item)
  {
    Node *node = new Node, *before;

    node->item = std::move (item);
    before = newest.exchange (node, std::memory_order_acq_rel);
    before->next.store (node, std::memory_order_release);
    pushed.fetch_add (1, std::memory_order_release);
    futex_wake (&pushed);
  }

  /* Sleeps until there is one. */
  Item pop ()
  {
    Node *next;

    for (;;) {
      int seen = pushed.load (std::memory_order_acquire);

      next = oldest->next.load (std::memory_order_acquire);
      if (next != nullptr)
        break;
      futex_wait (&pushed, seen);
    }
    delete oldest;
    oldest = next;
    return std::move (next->item);
  }
};

}                               // namespace pt_emulation
