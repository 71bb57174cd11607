/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/module.h"

#include "device/cuda/cuda.h"

__attribute__ ((visibility ("default")))
const PtBackend *pt_module_get_backend (const gchar *abi);

const PtBackend *
pt_module_get_backend (const gchar *abi)
{
  return g_str_equal (abi, PT_MODULE_ABI) ? &pt_backend_cuda : NULL;
}
