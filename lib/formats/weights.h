/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/safetensors.h"
#include "network/network.h"

G_BEGIN_DECLS

/* What tensors of a checkpoint begin with that are no weights. */
#define PT_WEIGHTS_OPTIMIZER "optimizer."
#define PT_WEIGHTS_STREAM "stream."

/* Whether @file has all weights and no others, each of its shape and finite;
 * @path is for errors. */
gboolean pt_weights_check (PtNetwork *network, PtTensorFile *file,
    const gchar *path, GError **error);
/* Those of @n layers, of a file that was checked. */
void pt_weights_copy (PtNetwork *network, guint first, guint n,
    PtTensorFile *file);
/* Both: pt_network_load_weights() of a file that is in memory. */
gboolean pt_weights_take (PtNetwork *network, PtTensorFile *file,
    const gchar *path, GError **error);

G_END_DECLS
