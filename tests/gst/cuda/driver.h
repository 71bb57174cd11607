/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <cuda.h>

/* How often so far. */
typedef struct
{
  int retained;                 /* the primary context, and not released */
  int peer_copies;              /* from one context to another */
  int downloaded;               /* by the driver, to the host */
} FakeCudaCounts;

void fake_cuda_get_counts (FakeCudaCounts *counts);
