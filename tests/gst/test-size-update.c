/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Models and weights that are set about the time the size changes. */

#include "size-test.h"

#include <stdio.h>
#include <unistd.h>

/* Other parameters. */
#define WIDE \
  "[wide]\ntype=conv2d\nfilters=1\nkernel=5\npadding=2\n" \
  "[learning]\nloss=mse\ntarget=input\n[output]\nkind=image\n" \
  "[pipeline]\nstages=1\n"

/* Another model, asked for before frames came: it is there when they have. */
static void
test_update (void)
{
  g_autofree gchar *other = element_test_write ("other.cfg", OPEN UNET);
  Rig *rig = rig_new (OPEN LAYERS, "is-updatable=true");
  g_autoptr (GstMessage) message = NULL;

  g_object_set (rig->harness->element, "model", other, NULL);
  rig_set_size (rig, 24, 16);
  while (!(message = gst_bus_pop_filtered (rig->bus, GST_MESSAGE_ELEMENT))
      || !gst_message_has_name (message, "partime-model-updated")) {
    gst_clear_message (&message);
    rig_run (rig, 1, 24, 16);
    g_usleep (500);
  }
  g_assert_cmpstr (gst_structure_get_string (gst_message_get_structure
          (message), "model"), ==, other);
  g_assert_null (gst_structure_get_string (gst_message_get_structure
          (message), "error"));
  rig_set_size (rig, 40, 20);
  rig_run (rig, 3, 40, 20);
  rig_free (rig);
}

/* Whether it says that @model with @weights is in place. */
static gboolean
message_is_updated (GstMessage *message, const gchar *model,
    const gchar *weights)
{
  const GstStructure *fields = gst_message_get_structure (message);
  gboolean ok = FALSE;

  return gst_structure_has_name (fields, "partime-model-updated")
      && gst_structure_get_boolean (fields, "ok", &ok) && ok
      && g_strcmp0 (gst_structure_get_string (fields, "model"), model) == 0
      && g_strcmp0 (gst_structure_get_string (fields, "weights"), weights) == 0;
}

/* Frames go through until it is said. */
static void
rig_run_until_updated (Rig *self, const gchar *model, const gchar *weights)
{
  gboolean updated = FALSE;

  for (guint i = 0; i < 20000 && !updated; i++) {
    g_autoptr (GstMessage) message = gst_bus_pop_filtered (self->bus,
        GST_MESSAGE_ELEMENT);

    updated = message && message_is_updated (message, model, weights);
    if (message)
      continue;
    rig_run (self, 1, self->width, self->height);
    g_usleep (500);
  }
  g_assert_true (updated);
}

/* Frames of another size come while a model waits for its frame: weights that
 * follow are for that one. */
static void
test_update_waits (void)
{
  g_autofree gchar *other = element_test_write ("wide.cfg", OPEN WIDE);
  g_autofree gchar *weights = element_test_path ("wide.safetensors");

  run_closed (OPEN WIDE, weights, 24, 16, 2, 0);
  for (guint i = 0; i < 2; i++) {
    Rig *rig = rig_new (OPEN LAYERS, "is-updatable=true");

    rig_set_size (rig, 24, 16);
    rig_run (rig, 3, 24, 16);
    g_object_set (rig->harness->element, "model", other, NULL);
    /* it is being made ready, or is */
    g_usleep (i * G_USEC_PER_SEC / 4);
    rig_set_size (rig, 40, 20);
    g_object_set (rig->harness->element, "weights", weights, NULL);
    /* the frame after would put it in place */
    g_usleep (G_USEC_PER_SEC / 10);
    rig_run_until_updated (rig, other, weights);
    rig_free (rig);
  }
}

/* Zeros for WIDE, beside so much else that it takes long to read. */
static gchar *
write_slow_zeros (void)
{
  static const gchar header[] = "{\"wide.weight\":{\"dtype\":\"F32\",\"shape\":"
      "[1,1,5,5],\"data_offsets\":[0,100]},\"wide.bias\":{\"dtype\":\"F32\","
      "\"shape\":[1],\"data_offsets\":[100,104]},\"stream.x\":{\"dtype\":\"F32\","
      "\"shape\":[33554432],\"data_offsets\":[104,134217832]}}";
  gchar *path = element_test_path ("zeros.safetensors");
  guint64 size = GUINT64_TO_LE (sizeof header - 1);
  FILE *file = fopen (path, "w");

  g_assert_nonnull (file);
  g_assert_cmpuint (fwrite (&size, 8, 1, file), ==, 1);
  g_assert_cmpuint (fwrite (header, sizeof header - 1, 1, file), ==, 1);
  g_assert_cmpint (fflush (file), ==, 0);
  g_assert_cmpint (ftruncate (fileno (file), 8 + sizeof header - 1 +
          134217832), ==, 0);
  fclose (file);
  return path;
}

/* As rig_pull() of a picture of zeros. */
static guint64
hash_zeros (guint n)
{
  guint64 hash = 1;

  for (guint i = 0; i < n; i++)
    hash *= G_GUINT64_CONSTANT (0x100000001b3);
  return hash;
}

/* Weights are being read as the size changes: what is told to be in place is. */
static void
test_weights_between (void)
{
  Rig *rig = rig_new (OPEN WIDE, "is-updatable=true learning-mode=off");
  g_autofree gchar *model = element_test_path ("net.cfg");
  g_autofree gchar *weights = write_slow_zeros ();

  rig_set_size (rig, 24, 16);
  rig_run (rig, 3, 24, 16);
  g_object_set (rig->harness->element, "weights", weights, NULL);
  g_usleep (5000);
  rig_set_size (rig, 28, 16);
  rig_run_until_updated (rig, model, weights);
  g_assert_cmpuint (rig_push (rig), ==, GST_FLOW_OK);
  g_assert_cmphex (rig_pull (rig, 28, 16), ==, hash_zeros (4 * 28 * 16));
  rig_free (rig);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/size-update/early", test_update);
  g_test_add_func ("/size-update/waits", test_update_waits);
  g_test_add_func ("/size-update/weights", test_weights_between);
  return element_test_run ();
}
