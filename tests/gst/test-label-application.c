/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Labels that applications put on frames or send as events. */

#include "label-test.h"

/* Scores as GstPartimeMeta has them; the highest is @class's. */
static GstSample *
application_new_scores (guint class, guint n, gfloat first)
{
  gfloat scores[16] = { 0 };
  g_autoptr (GstBuffer) data = NULL;
  GstStructure *info = gst_structure_from_string (n == N_CLASSES
      ? "tensor, name=(string)x, dims=(int)<1, 5>"
      : "tensor, name=(string)x, dims=(int)<1, 7>", NULL);

  for (guint i = 0; i < n; i++)
    scores[i] = i == class ? 0.5 : -3. * i;
  scores[0] += first;
  data = gst_buffer_new_memdup (scores, n * sizeof (gfloat));
  return gst_sample_new (data, NULL, NULL, info);
}

static GstSample *
application_new_sample (const gchar *caps_text, GstBuffer *buffer)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_text);
  GstSample *sample = gst_sample_new (buffer, caps, NULL, NULL);

  gst_buffer_unref (buffer);
  return sample;
}

static GstStructure *
application_new_fields (guint kind, guint class)
{
  GstStructure *fields = gst_structure_new_empty ("GstPartimeLabel");
  g_autoptr (GstSample) sample = NULL;
  g_autofree gchar *name = g_strdup_printf ("%u", class);

  if (kind == 0)
    gst_structure_set (fields, "class", G_TYPE_INT, class, NULL);
  else if (kind == 1)
    gst_structure_set (fields, "class", G_TYPE_STRING, name, NULL);
  else if (kind == 2)
    sample = application_new_sample ("video/x-raw,format=GRAY8,width=1,height=1,"
        "framerate=0/1", label_test_new_class (class, 0));
  else if (kind == 3)
    sample = application_new_sample ("text/x-raw,format=utf8",
        label_test_new_text (name, 0));
  else
    sample = application_new_scores (class, N_CLASSES, 0);
  if (sample)
    gst_structure_set (fields, kind == 4 ? "tensor" : "sample",
        GST_TYPE_SAMPLE, sample, NULL);
  return fields;
}

static gboolean
application_copy_field (GQuark id, const GValue *value, gpointer data)
{
  gst_structure_id_set_value (data, id, value);
  return TRUE;
}

/* A frame with the fields of a label on it. */
static GstBuffer *
application_new_labelled (guint number, const GstStructure *fields)
{
  GstBuffer *buffer = label_test_new_frame (number);
  GstCustomMeta *meta = gst_buffer_add_custom_meta (buffer,
      "GstPartimeLabel");

  gst_structure_foreach (fields, application_copy_field,
      gst_custom_meta_get_structure (meta));
  return buffer;
}

/* Every kind on every other frame; frames between have none. */
static void
test_meta (void)
{
  Rig rig = label_test_new (NET_CLASS, "", FALSE);

  for (guint i = 0; i < 10; i++) {
    GstStructure *fields = application_new_fields (i / 2, label_test_class (i));

    gst_harness_push (rig.frames, i % 2 ? label_test_new_frame (i)
        : application_new_labelled (i, fields));
    label_test_check_class (&rig, i, i % 2 ? -1 : (gint) label_test_class (i));
    gst_structure_free (fields);
  }
  label_test_check_stats (rig.frames->element, 5, 5, 0, 0);
  label_test_free (&rig);
}

/* What the frame carries comes before what the pad says. */
static void
test_meta_and_pad (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  for (guint i = 0; i < 6; i++) {
    GstStructure *fields = application_new_fields (0, 4);

    gst_harness_push (rig.labels, label_test_new_class (1, i * FRAME_TIME));
    gst_harness_push (rig.frames, i % 2 ? label_test_new_frame (i)
        : application_new_labelled (i, fields));
    label_test_check_class (&rig, i, i % 2 ? 1 : 4);
    gst_structure_free (fields);
  }
  label_test_check_stats (rig.frames->element, 6, 0, 0, 0);
  label_test_free (&rig);
}

static void
application_send (Rig *rig, guint kind, guint class, gint64 pts)
{
  GstStructure *fields = application_new_fields (kind, class);

  if (pts >= 0)
    gst_structure_set (fields, "pts", G_TYPE_UINT64, (guint64) pts, NULL);
  g_assert_true (gst_harness_push_event (rig->frames,
          gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, fields)));
}

/* Without a pts an event is about the next frame, the last one counts; with
 * one, about the frame there. */
static void
test_event (void)
{
  Rig rig = label_test_new (NET_CLASS, "", FALSE);
  static const gint expected[] = { 2, -1, 3, 1, -1, 4 };

  application_send (&rig, 0, 1, -1);
  application_send (&rig, 4, 2, -1);
  application_send (&rig, 2, 4, 5 * FRAME_TIME);
  application_send (&rig, 3, 3, 2 * FRAME_TIME + 7 * GST_MSECOND);
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    if (i == 3)
      application_send (&rig, 1, 1, -1);
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, expected[i]);
  }
  application_send (&rig, 0, 1, FRAME_TIME);
  label_test_check_stats (rig.frames->element, 4, 2, 1, 0);
  /* a flush forgets them */
  application_send (&rig, 0, 1, -1);
  gst_harness_push_event (rig.frames, gst_event_new_flush_start ());
  gst_harness_push_event (rig.frames, gst_event_new_flush_stop (FALSE));
  label_test_free (&rig);
}

/* What cannot be used is counted, and told once for each cause; the next one
 * serves. */
static void
test_bad_meta (void)
{
  static const gchar *const words[] = { "found class 9, expected 0 to 4",
    "expected class (int or string), sample or tensor",
    "expected float32 of dims <1, 5>", NULL, NULL, NULL
  };
  Rig rig = label_test_new (NET_CLASS, "", FALSE);
  g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);

  for (guint i = 0; i < G_N_ELEMENTS (words); i++) {
    GstStructure *fields = gst_structure_new_empty ("GstPartimeLabel");
    g_autoptr (GstSample) sample = i == 3 ? gst_sample_new (NULL, NULL, NULL,
        NULL) : application_new_scores (1, i == 2 ? 7 : N_CLASSES,
        i == 4 ? NAN : 0);

    if (i == 0 || i == 5)
      gst_structure_set (fields, "class", G_TYPE_INT, i == 0 ? 9 : 3, NULL);
    else if (i > 1)
      gst_structure_set (fields, "tensor", GST_TYPE_SAMPLE, sample, NULL);
    gst_harness_push (rig.frames, application_new_labelled (i, fields));
    gst_structure_free (fields);
    label_test_check_warning (bus, words[i]);
    label_test_check_class (&rig, i, i == 5 ? 3 : -1);
  }
  label_test_check_stats (rig.frames->element, 1, 5, 0, 5);
  label_test_free (&rig);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/label-application/meta", test_meta);
  g_test_add_func ("/label-application/meta-and-pad", test_meta_and_pad);
  g_test_add_func ("/label-application/event", test_event);
  g_test_add_func ("/label-application/bad-meta", test_bad_meta);
  return element_test_run ();
}
