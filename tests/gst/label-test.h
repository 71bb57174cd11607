/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the tests of labels share: an element with a harness at either of its
 * sink pads, and networks whose weights stay as they are (rate 0), so that the
 * loss told for a frame shows which label it had. */

#pragma once

#include <math.h>
#include <string.h>

#include "element-test.h"

#define N_CLASSES 5
#define FRAME_TIME (40 * GST_MSECOND)

#define LABEL_HEAD "[network]\nwidth=16\nheight=12\nchannels=1\n"
#define LABEL_TAIL "optimizer=sgd lr=0\nmode=exact\n[pipeline]\nstages=2\n" \
  "[output]\nkind=raw\n"
#define NET_SCORES \
  "[features]\ntype=conv2d\nfilters=4\nkernel=3\nactivation=relu\n" \
  "[pool]\ntype=global-avg-pool\n[flat]\ntype=flatten\n" \
  "[scores]\ntype=linear\nunits=5\n"
#define NET_CLASS LABEL_HEAD NET_SCORES \
  "[learning]\nloss=cross-entropy\n" LABEL_TAIL
#define NET_MAP LABEL_HEAD \
  "[a]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\nstride=2\n" \
  "[scores]\ntype=conv2d\nfilters=5\nkernel=3\npadding=1\n" \
  "[learning]\nloss=cross-entropy ignore_index=255\n" LABEL_TAIL
#define NET_PICTURE_LAYERS(channels) \
  "[a]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" \
  "[b]\ntype=conv2d\nfilters=" channels "\nkernel=3\npadding=1\n"
#define NET_PICTURE LABEL_HEAD "mean=0.5\nstd=0.25\n" \
  NET_PICTURE_LAYERS ("3") "[learning]\nloss=mse\ntarget=labels\n" LABEL_TAIL

typedef struct
{
  GstHarness *frames, *labels;  /* labels: NULL without the pad */
} Rig;

static inline GstBuffer *
label_test_stamp (GstBuffer *buffer, GstClockTime pts)
{
  GST_BUFFER_PTS (buffer) = pts;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  return buffer;
}

/* A frame of luma, different for each number. */
static inline GstBuffer *
label_test_new_frame (guint number)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 16 * 12, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = ((i + number * 977) * 2654435761u) >> 23;
  gst_buffer_unmap (buffer, &map);
  return label_test_stamp (buffer, number * FRAME_TIME);
}

/* Which class a frame has, where every one has one. */
static inline guint
label_test_class (guint number)
{
  return (number * 7 + 3) % N_CLASSES;
}

static inline GstBuffer *
label_test_new_class (guint value, GstClockTime pts)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 1, NULL);

  gst_buffer_memset (buffer, 0, value, 1);
  return label_test_stamp (buffer, pts);
}

static inline GstBuffer *
label_test_new_text (const gchar *text, GstClockTime pts)
{
  return label_test_stamp (gst_buffer_new_memdup (text,
          MAX (strlen (text), 1)), pts);
}

static inline gchar *
label_test_video_caps (const gchar *format, gint width, gint height)
{
  return g_strdup_printf ("video/x-raw,format=%s,width=%d,height=%d,"
      "framerate=25/1", format, width, height);
}

static inline void
label_test_set_caps (GstHarness *h, const gchar *format, gint width,
    gint height)
{
  g_autofree gchar *caps = label_test_video_caps (format, width, height);

  gst_harness_set_src_caps_str (h, caps);
}

/* @with_pad: whether there is a label pad; its caps are the test's to send. */
static inline Rig
label_test_new (const gchar *network, const gchar *properties,
    gboolean with_pad)
{
  g_autofree gchar *path = element_test_write ("net.cfg", network);
  g_autofree gchar *launch = g_strdup_printf ("partimefilter model=%s %s",
      path, properties);
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) element = gst_parse_launch (launch, &error);
  Rig rig = { NULL };

  g_assert_no_error (error);
  rig.frames = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_live (rig.frames, FALSE);
  if (with_pad)
    rig.labels = gst_harness_new_with_element (element, "label", NULL);
  label_test_set_caps (rig.frames, "GRAY8", 16, 12);
  return rig;
}

static inline void
label_test_free (Rig *rig)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (rig->frames->element);

  /* messages hold the element, which holds the bus */
  if (bus)
    gst_bus_set_flushing (bus, TRUE);
  if (rig->labels)
    gst_harness_teardown (rig->labels);
  gst_harness_teardown (rig->frames);
}

static inline guint64
label_test_stat (GstElement *element, const gchar *name)
{
  GstStructure *stats = NULL;
  guint64 value = 0;

  g_object_get (element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_uint64 (stats, name, &value));
  gst_structure_free (stats);
  return value;
}

/* labels, unlabelled, late-labels, bad-labels. */
static inline void
label_test_check_stats (GstElement *element, gint64 labels,
    gint64 unlabelled, gint64 late, gint64 bad)
{
  g_assert_cmpint (label_test_stat (element, "labels"), ==, labels);
  g_assert_cmpint (label_test_stat (element, "unlabelled"), ==, unlabelled);
  g_assert_cmpint (label_test_stat (element, "late-labels"), ==, late);
  g_assert_cmpint (label_test_stat (element, "bad-labels"), ==, bad);
}

static inline void
label_test_push (Rig *rig, guint number)
{
  g_assert_cmpint (gst_harness_push (rig->frames,
          label_test_new_frame (number)), ==, GST_FLOW_OK);
}

/* The frame's output, by the meta at @index, and its loss (or NaN). Returns:
 * (transfer full): the output's buffer, float32 */
static inline GstBuffer *
label_test_get_output (GstBuffer *buffer, guint index, gdouble *loss)
{
  GstStructure *fields = NULL;
  GstMeta *meta;
  gpointer state = NULL;
  GstSample *sample;

  while ((meta = gst_buffer_iterate_meta (buffer, &state)))
    if (gst_meta_info_is_custom (meta->info)
        && gst_custom_meta_has_name ((GstCustomMeta *) meta, "GstPartimeMeta")
        && index-- == 0)
      fields = gst_custom_meta_get_structure ((GstCustomMeta *) meta);
  g_assert_nonnull (fields);
  if (loss && !gst_structure_get_double (fields, "loss", loss))
    *loss = NAN;
  sample = g_value_get_boxed (gst_value_array_get_value
      (gst_structure_get_value (fields, "tensors"), 0));
  return gst_buffer_ref (gst_sample_get_buffer (sample));
}

/* Pulls frame @number. Returns: its loss; @output: (optional) (out) */
static inline gdouble
label_test_pull (Rig *rig, guint number, GstBuffer **output)
{
  g_autoptr (GstBuffer) buffer = gst_harness_pull (rig->frames);
  g_autoptr (GstBuffer) found = NULL;
  gdouble loss = NAN;

  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, number * FRAME_TIME);
  found = label_test_get_output (buffer, 0, &loss);
  if (output)
    *output = g_steal_pointer (&found);
  return loss;
}

/* Mean of -log softmax (x)[class] over pixels, planes of @n pixels. */
static inline gdouble
label_test_cross_entropy (GstBuffer *output, const gint *classes, gsize n,
    gint ignore)
{
  GstMapInfo map;
  const gfloat *x;
  gdouble total = 0;
  guint valid = 0;

  gst_buffer_map (output, &map, GST_MAP_READ);
  x = (const gfloat *) map.data;
  g_assert_cmpuint (map.size, ==, N_CLASSES * n * sizeof (gfloat));
  for (gsize p = 0; p < n; p++) {
    gdouble sum = 0;

    if (classes[p] == ignore)
      continue;
    for (guint k = 0; k < N_CLASSES; k++)
      sum += exp ((gdouble) x[k * n + p]);
    total += log (sum) - x[classes[p] * n + p];
    valid++;
  }
  gst_buffer_unmap (output, &map);
  return valid ? total / valid : 0;
}

/* Pulls frame @number, which must have learned from @class; below 0: not
 * learned. Single precision: 1e-5 of a loss near log 5. */
static inline void
label_test_check_class (Rig *rig, guint number, gint class)
{
  g_autoptr (GstBuffer) output = NULL;
  gdouble loss = label_test_pull (rig, number, &output), expected, other;
  gint next = (class + 1) % N_CLASSES;

  if (class < 0) {
    g_assert_true (isnan (loss));
    return;
  }
  expected = label_test_cross_entropy (output, &class, 1, -1);
  other = label_test_cross_entropy (output, &next, 1, -1);
  g_assert_cmpfloat_with_epsilon (loss, expected, 1e-5);
  /* else it would show nothing */
  g_assert_cmpfloat (fabs (expected - other), >, 1e-3);
}

static inline GstBus *
label_test_new_bus (GstElement *element)
{
  GstBus *bus = gst_bus_new ();

  gst_element_set_bus (element, bus);
  return bus;
}

/* The next warning on @bus must have @words in it; no @words: there is none. */
static inline void
label_test_check_warning (GstBus *bus, const gchar *words)
{
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (bus,
      GST_MESSAGE_WARNING);
  g_autoptr (GError) error = NULL;

  if (!words) {
    g_assert_null (message);
    return;
  }
  g_assert_nonnull (message);
  gst_message_parse_warning (message, &error, NULL);
  g_test_message ("%s", error->message);
  if (!strstr (error->message, words))
    g_error ("'%s' does not say '%s'", error->message, words);
}
