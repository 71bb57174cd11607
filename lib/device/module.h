/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/backend.h"

G_BEGIN_DECLS

/* A backend that leans on libraries few machines have is a module of its own,
 * libpartime-<name>.so, opened when its devices are first asked for. It has
 * one function that others see. */

#define PT_MODULE_ENTRY "pt_module_get_backend"

/* @abi is PT_MODULE_ABI of the library that asks; NULL if the module was not
 * built with the same. */
typedef const PtBackend *(*PtModuleEntry) (const gchar *abi);

#define PT_MODULE_ABI PT_VERSION " " G_STRINGIFY (PT_N_BACKEND_ABI)
/* Counts the changes of what a module and the library share: backend.h, op.h
 * and core/. */
#define PT_N_BACKEND_ABI 1

typedef struct
{
  const gchar *name;
  const gchar *summary;         /* as a backend's */
} PtModuleKind;

extern const PtModuleKind pt_module_kinds[];    /* name NULL at the end */

const PtBackend *pt_module_load (const PtModuleKind *kind, GError **error);

G_END_DECLS
