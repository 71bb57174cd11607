/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/error.h"

G_BEGIN_DECLS

typedef struct
{
  gconstpointer data;
  gsize size;
} PtFilePart;

/* What is to be done when the new file is whole, before it takes its name. */
typedef void (*PtFileReadyFunc) (const gchar *path, gpointer data);

/* Makes @path hold the parts, one after the other. They are written aside in
 * the same folder, fsynced and renamed: at any moment the file is the old one
 * or the new one, whole. @ready may be NULL. */
gboolean pt_file_replace (const gchar *path, const PtFilePart *parts,
    guint n_parts, PtFileReadyFunc ready, gpointer data, GError **error);

G_END_DECLS
