/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/module.h"

/* What test-cuda-load finds in place of libpartime-cuda.so: of another
 * version, or no module at all. */

#ifndef NO_ENTRY
const PtBackend *pt_module_get_backend (const gchar *abi);

const PtBackend *
pt_module_get_backend (const gchar *abi)
{
  static const PtBackend backend = {.name = "cuda" };

  return g_str_equal (abi, "0.0.1 1") ? &backend : NULL;
}
#endif
