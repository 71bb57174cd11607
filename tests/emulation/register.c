/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/cuda.h"

/* In programs with this in them, "cuda" is the emulated one. */
__attribute__ ((constructor))
static void
register_emulated (void)
{
  pt_device_add_backend (&pt_backend_cuda);
}
