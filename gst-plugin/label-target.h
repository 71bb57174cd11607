/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "frame-tensor.h"

G_BEGIN_DECLS

/**
 * GstPartimeTarget:
 * @info: what the library takes
 * @output: shape of the network's output
 * @masks: 0 to 1, not normalised as frames are
 * @names: (nullable): of the classes
 *
 * What labels are to become.
 */
typedef struct
{
  PtTargetInfo info;
  PtShape output;
  gboolean masks;
  gfloat mean, std;
  PtNetwork *network;           /* owned; the names are lent */
  gchar **names;
  guint n_names;
} GstPartimeTarget;

typedef enum
{
  GST_PARTIME_LABEL_NONE,
  GST_PARTIME_LABEL_TEXT,       /* a class by name or number */
  GST_PARTIME_LABEL_CLASS,      /* one pixel */
  GST_PARTIME_LABEL_MAP,        /* a class for each pixel */
  GST_PARTIME_LABEL_PICTURE,
} GstPartimeLabelKind;

/**
 * GstPartimeLabelFormat:
 *
 * How labels of one caps become targets. Starts as all zeros.
 */
typedef struct
{
  GstCaps *caps;
  GstPartimeLabelKind kind;
  GstPartimeFormat *format;     /* NULL for text */
} GstPartimeLabelFormat;

gboolean gst_partime_target_init (GstPartimeTarget *self, PtNetwork *network,
    PtPipeline *pipeline);
void gst_partime_target_clear (GstPartimeTarget *self);
gboolean gst_partime_target_equal (const GstPartimeTarget *a,
    const GstPartimeTarget *b);
PtTensor *gst_partime_target_new_tensor (const GstPartimeTarget *self,
    GError **error);

gboolean gst_partime_label_format_set (GstPartimeLabelFormat *self,
    const GstPartimeTarget *target, GstCaps *caps, GError **error);
void gst_partime_label_format_clear (GstPartimeLabelFormat *self);

/* Each fills @tensor, made by gst_partime_target_new_tensor(). */
gboolean gst_partime_target_read_buffer (const GstPartimeTarget *self,
    const GstPartimeLabelFormat *format, GstBuffer *buffer, PtTensor *tensor,
    GError **error);
gboolean gst_partime_target_read_sample (const GstPartimeTarget *self,
    GstSample *sample, PtTensor *tensor, GError **error);
gboolean gst_partime_target_read_fields (const GstPartimeTarget *self,
    GstPartimeLabelFormat *format, const GstStructure *fields,
    PtTensor *tensor, GError **error);

G_END_DECLS
