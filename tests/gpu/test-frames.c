/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "op-test.h"
#include "partime/frame.h"
#include "stream.h"

/* Video frames in the memory of the GPU that $PARTIME_TEST_DEVICE names: what
 * the network makes of them is what it makes of the same pixels from the host,
 * what is drawn on them is where and what it should be, and stages say what
 * they take. */

#define N_FRAMES 40
#define SIZE (STREAM_WIDTH * STREAM_HEIGHT)

/* The GPU may round a product and a sum once instead of twice. */
#define TOLERANCE 1e-4

static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };

/* % stands for the GPU. */
static const gchar *const lists[] = { "%", "%*3", "%,cpu:0" };

static void
draw (guint f, guint8 *pixels)
{
  for (guint i = 0; i < SIZE; i++)
    pixels[i] = 128 + 100 * sin (0.7 * (i % STREAM_WIDTH) + 0.11 * f)
        * cos (0.5 * (i / STREAM_WIDTH) - 0.07 * f);
}

typedef struct
{
  PtDevice *device;
  PtTensor *memory;             /* of one frame */
} Store;

static void
store_init (Store *store)
{
  g_autoptr (GError) error = NULL;

  store->device = op_test_device (NULL);
  store->memory = pt_device_bytes_new (store->device, SIZE, &error);
  g_assert_no_error (error);
}

static void
store_clear (Store *store)
{
  pt_tensor_unref (store->memory);
  pt_device_unref (store->device);
}

static void
push (PtPipeline *pipeline, const Store *store, const guint8 *pixels)
{
  PtFrameView view = { .width = STREAM_WIDTH, .height = STREAM_HEIGHT,
    .to_width = STREAM_WIDTH, .to_height = STREAM_HEIGHT,
    .out_width = STREAM_WIDTH, .out_height = STREAM_HEIGHT, .channels = 1 };
  PtFrame frame = { .data = { store->memory->data },
    .stride = { STREAM_WIDTH }, .step = { 1 }, .n_components = 1,
    .width = STREAM_WIDTH, .height = STREAM_HEIGHT };
  g_autoptr (GError) error = NULL;

  pt_frame_matrix_copy (1, view.matrix);
  pt_pipeline_wait_frames (pipeline);
  store->device->backend->upload (store->device, store->memory->data, pixels,
      SIZE, &error);
  g_assert_no_error (error);
  pt_pipeline_push_frame (pipeline, &frame, &view, NULL, PT_PUSH_NONE,
      &error);
  g_assert_no_error (error);
}

/* All that came out, one number after the other. */
static void
take (PtPipeline *pipeline, GArray *found)
{
  g_autoptr (PtResult) result = NULL;
  g_autoptr (GError) error = NULL;
  gfloat loss;

  pt_pipeline_pull (pipeline, &result, &error);
  g_assert_no_error (error);
  g_assert_true (result->valid);
  loss = isnan (result->loss) ? 0 : result->loss;
  g_array_append_vals (found, pt_tensor_get_data (result->output),
      pt_tensor_get_n_elements (result->output));
  g_array_append_val (found, loss);
}

static GArray *
run (const gchar *mode, const gchar *devices, gboolean gpu)
{
  g_auto (GStrv) parts = g_strsplit (devices, "%", -1);
  g_autofree gchar *list = g_strjoinv (op_test_devices ()[0], parts);
  g_autoptr (PtNetwork) network = stream_network (mode, list, "2,3,2");
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);
  GArray *found = g_array_new (FALSE, FALSE, sizeof (gfloat));
  guint8 pixels[SIZE];
  Store store;

  store_init (&store);
  pt_pipeline_set_frame_device (pipeline, gpu ? store.device : NULL);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  g_assert_cmpint (pt_pipeline_takes_frames (pipeline, store.device), ==,
      gpu);
  for (guint f = 0; f < N_FRAMES; f++) {
    draw (f, pixels);
    if (gpu)
      push (pipeline, &store, pixels);
    else
      pt_pipeline_push_pixels (pipeline, pixels, STREAM_WIDTH, NULL,
          PT_PUSH_NONE, &error);
    g_assert_no_error (error);
    if (f >= 2)
      take (pipeline, found);
  }
  pt_pipeline_stop (pipeline);
  store_clear (&store);
  return found;
}

static void
test_same (gconstpointer mode)
{
  for (guint l = 0; l < G_N_ELEMENTS (lists); l++) {
    g_autoptr (GArray) host = run (mode, lists[l], FALSE);
    g_autoptr (GArray) gpu = run (mode, lists[l], TRUE);
    gdouble apart = 0, size = 0;

    g_assert_cmpuint (gpu->len, ==, host->len);
    for (guint i = 0; i < host->len; i++) {
      gdouble a = g_array_index (gpu, gfloat, i);
      gdouble b = g_array_index (host, gfloat, i);

      apart += (a - b) * (a - b);
      size += b * b;
    }
    g_test_message ("%s on %s: %.3g apart", (const gchar *) mode, lists[l],
        sqrt (apart / size));
    g_assert_cmpfloat (sqrt (apart / size), <=, TOLERANCE);
  }
}

/* Class 1 is opaque, class 0 not there: a checkerboard of two by two. */
static void
test_drawn (void)
{
  static const PtOverlayColour colours[] = { {0, {9, 9, 9}},
    {255, {200, 0, 0}}
  };
  static const gfloat scores[] = { 1, 0, 0, 1, 0, 1, 1, 0 };
  PtOverlayStyle style = { .kind = PT_OVERLAY_CLASSES, .width = 2,
    .height = 2, .channels = 2, .colours = colours, .n_colours = 2 };
  PtFrame frame = { .stride = { STREAM_WIDTH }, .step = { 1 },
    .n_components = 1, .width = STREAM_WIDTH, .height = STREAM_HEIGHT };
  g_autoptr (PtFramePainter) painter = NULL;
  g_autoptr (GError) error = NULL;
  guint8 before[SIZE], after[SIZE];
  Store store;

  store_init (&store);
  draw (0, before);
  store.device->backend->upload (store.device, store.memory->data, before,
      SIZE, &error);
  g_assert_no_error (error);
  frame.data[0] = store.memory->data;
  painter = pt_frame_painter_new (store.device, &style, &error);
  g_assert_no_error (error);
  pt_frame_painter_draw (painter, scores, 1, &frame, 0, 0, STREAM_WIDTH,
      STREAM_HEIGHT, &error);
  g_assert_no_error (error);
  store.device->backend->download (store.device, after, store.memory->data,
      SIZE, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < SIZE; i++) {
    gboolean right = i % STREAM_WIDTH >= STREAM_WIDTH / 2;
    gboolean low = i / STREAM_WIDTH >= STREAM_HEIGHT / 2;

    g_assert_cmpuint (after[i], ==, right != low ? 200 : before[i]);
  }
  g_clear_pointer (&painter, pt_frame_painter_free);
  store_clear (&store);
}

/* By the GPU's own clock. */
static void
test_times (void)
{
  g_autoptr (PtNetwork) network = stream_network ("partime",
      op_test_devices ()[0], "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);

  stream_run (pipeline, 0, N_FRAMES);
  for (guint i = 0; i < 2; i++) {
    PtStageStats stats;

    pt_pipeline_get_stage_stats (pipeline, i, &stats);
    g_test_message ("stage %u: forward %.1f us, backward %.1f, update %.1f",
        i, stats.forward * 1e-3, stats.backward * 1e-3, stats.update * 1e-3);
    g_assert_cmpuint (stats.forward, >, 0);
    g_assert_cmpuint (stats.backward, >, 0);
    g_assert_cmpuint (stats.update, >, 0);
  }
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  for (guint m = 0; m < G_N_ELEMENTS (modes); m++) {
    g_autofree gchar *path = g_strconcat ("/frames/", modes[m], NULL);

    g_test_add_data_func (path, modes[m], test_same);
  }
  g_test_add_func ("/frames/drawn", test_drawn);
  g_test_add_func ("/frames/times", test_times);
  return g_test_run ();
}
