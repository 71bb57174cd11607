/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_PARTIME_FILTER (gst_partime_filter_get_type ())
G_DECLARE_FINAL_TYPE (GstPartimeFilter, gst_partime_filter,
    GST, PARTIME_FILTER, GstElement)

GST_ELEMENT_REGISTER_DECLARE (partimefilter)

G_END_DECLS
