/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

/* What libFuzzer calls; each file beside this one has it. */
gint LLVMFuzzerInitialize (gint *argc, gchar ***argv);
gint LLVMFuzzerTestOneInput (const guint8 *data, gsize size);
gsize LLVMFuzzerCustomMutator (guint8 *data, gsize size, gsize max,
    guint seed);
gsize LLVMFuzzerMutate (guint8 *data, gsize size, gsize max);

#define PT_FUZZ_FILES 2

/* A name under which @data can be read as a regular file, number @which. */
const gchar *pt_fuzz_file (guint which, const guint8 *data, gsize size);
/* Changes a safetensors file, half of the time its header alone, so that the
 * length before that stays true. */
gsize pt_fuzz_mutate_safetensors (guint8 *data, gsize size, gsize max,
    guint seed);
