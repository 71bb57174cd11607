/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/safetensors.h"
#include "network/network.h"

G_BEGIN_DECLS

/* What tensors of a checkpoint begin with that are no weights. */
#define PT_WEIGHTS_OPTIMIZER "optimizer."
#define PT_WEIGHTS_STREAM "stream."

/* pt_network_load_weights() of a file that is in memory; @path is for errors. */
gboolean pt_weights_take (PtNetwork *network, PtTensorFile *file,
    const gchar *path, GError **error);

G_END_DECLS
