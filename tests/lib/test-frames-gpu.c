/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/backend.h"
#include "emulation.h"
#include "engine/pipeline.h"
#include "stream.h"

/* Frames in the memory of an emulated GPU: the stream is bit for bit that of
 * the same pixels pushed from the host, and they never come there. */

#define N_FRAMES 20
#define LATE 30                 /* other copies before a frame comes */
#define PIXELS (STREAM_WIDTH * STREAM_HEIGHT)

/* What follows [learning] in the network file, and where the network runs. */
typedef struct
{
  const gchar *learning, *devices, *stages;
} Case;

static const Case cases[] = {
  {"mode=off", "cuda:0", "1"},
  {"mode=exact\ntarget=input", "cuda:0", "2,5"},
  {"mode=partime\ntarget=next", "cuda:0", "2,3,2"},
  {"mode=partime\ntarget=next", "cuda:0,cuda:1", "2,3,2"},
  {"mode=delayed\ntarget=next", "cuda:0,cuda:1,cuda:0", "2,3,2"},
  {"mode=partime\ntarget=input", "cuda:0,cpu:0", "3,4"},
  {"mode=delayed\ntarget=input", "cuda:0,cpu:0,cuda:1", "2,3,2"},
  {"mode=partime\ntarget=labels", "cuda:0,cuda:1", "3,4"},
  {"mode=exact\ntarget=input\nreplay=4\nreplay-interval=2", "cuda:0", "3,4"},
  {"mode=partime\ntarget=labels\nreplay=4", "cuda:0,cuda:1", "3,4"},
};

typedef struct
{
  guint64 hash, weights, up, down;
  gdouble psnr;
} Outcome;

/* Gray pixels that drift; there is one frame for each number. */
static void
draw (guint f, guint8 *pixels)
{
  for (guint i = 0; i < PIXELS; i++)
    pixels[i] = 128 + 100 * sin (0.7 * (i % STREAM_WIDTH) + 0.11 * f)
        * cos (0.5 * (i / STREAM_WIDTH) - 0.07 * f);
}

static PtNetwork *
new_network (const Case *item)
{
  g_autofree gchar *text = g_strdup_printf (STREAM_NETWORK "%s\n[pipeline]\n"
      "devices=%s\nstages=%s\n", item->learning, item->devices, item->stages);
  g_autoptr (GError) error = NULL;
  PtNetwork *network = pt_network_new_from_data (text, -1, "frames.cfg",
      &error);

  g_assert_no_error (error);
  return network;
}

static PtTensor *
new_label (guint f)
{
  const gint64 dims[] = { 1, STREAM_HEIGHT, STREAM_WIDTH };
  PtTensor *label = pt_tensor_new (PT_F32, dims, 3, NULL);
  gfloat *x = pt_tensor_get_data (label);

  for (guint i = 0; i < PIXELS; i++)
    x[i] = sinf (0.3f * i + 0.1f * f);
  return label;
}

/* Where frames lie on the GPU: one after the other. */
typedef struct
{
  PtDevice *device;             /* NULL: they are the host's */
  PtTensor *memory, *source;    /* frames, and the same with the host */
  gpointer fence;
  gboolean late;                /* frames come with the fence */
  GAsyncQueue *orders, *done;   /* of frames to come, counted from 1 */
} Store;

static void
store_init (Store *store, gboolean gpu)
{
  g_autoptr (GError) error = NULL;

  *store = (Store) { NULL };
  if (!gpu)
    return;
  store->device = pt_device_open ("cuda:0", &error);
  g_assert_no_error (error);
  store->source = pt_device_host_tensor_new (store->device, PT_F32,
      &PT_SHAPE (N_FRAMES * PIXELS), &error);
  g_assert_no_error (error);
  for (guint f = 0; f < N_FRAMES; f++)
    draw (f, (guint8 *) store->source->data + f * PIXELS);
  store->memory = pt_device_bytes_new (store->device,
      (N_FRAMES + 1) * PIXELS, &error);
  g_assert_no_error (error);
  store->device->backend->upload (store->device, store->memory->data,
      store->source->data, N_FRAMES * PIXELS, &error);
  g_assert_no_error (error);
  store->fence = store->device->backend->fence_new (store->device, &error);
  g_assert_no_error (error);
}

static void
store_clear (Store *store)
{
  if (store->device == NULL)
    return;
  store->device->backend->fence_free (store->device, store->fence);
  pt_tensor_unref (store->memory);
  pt_tensor_unref (store->source);
  pt_device_unref (store->device);
}

static PtFlow
push (PtPipeline *pipeline, const Store *store, guint f, PtTensor *label,
    GError **error)
{
  PtFrameView view = { .width = STREAM_WIDTH, .height = STREAM_HEIGHT,
    .to_width = STREAM_WIDTH, .to_height = STREAM_HEIGHT,
    .out_width = STREAM_WIDTH, .out_height = STREAM_HEIGHT, .channels = 1 };
  PtFrame frame = { .stride = { STREAM_WIDTH }, .step = { 1 },
    .n_components = 1, .width = STREAM_WIDTH, .height = STREAM_HEIGHT };
  guint8 pixels[PIXELS];

  if (store->device == NULL) {
    draw (f, pixels);
    return pt_pipeline_push_pixels (pipeline, pixels, STREAM_WIDTH, label,
        PT_PUSH_TRY, error);
  }
  pt_frame_matrix_copy (1, view.matrix);
  frame.fence = store->late ? store->fence : NULL;
  frame.data[0] = (guint8 *) store->memory->data + f * PIXELS;
  return pt_pipeline_push_frame (pipeline, &frame, &view, label, PT_PUSH_TRY,
      error);
}

static void
take (PtPipeline *pipeline, Outcome *outcome)
{
  g_autoptr (PtResult) result = NULL;
  g_autoptr (GError) error = NULL;

  pt_pipeline_pull (pipeline, &result, &error);
  g_assert_no_error (error);
  outcome->hash = stream_hash (outcome->hash, result->output->data,
      result->output->size);
  outcome->hash = stream_hash (outcome->hash, &result->loss,
      sizeof result->loss);
  outcome->hash = stream_hash (outcome->hash, result->measures,
      sizeof result->measures);
}

/* Frames from @first up to @end. */
static void
feed (PtPipeline *pipeline, const Store *store, guint first, guint end,
    Outcome *outcome)
{
  guint taken = first;

  for (guint f = first; f < end;) {
    g_autoptr (PtTensor) label = new_label (f);
    g_autoptr (GError) error = NULL;
    PtFlow flow = push (pipeline, store, f, label, &error);

    g_assert_no_error (error);
    if (flow == PT_FLOW_OK)
      f++;
    else if (taken++ < end)
      take (pipeline, outcome);
  }
  while (taken++ < end)
    take (pipeline, outcome);
}

static Outcome
run (const Case *item, gboolean gpu)
{
  g_autoptr (PtNetwork) network = new_network (item);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);
  Outcome outcome = { 0 };
  Store store;

  g_assert_no_error (error);
  store_init (&store, gpu);
  pt_pipeline_set_frame_device (pipeline, store.device);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  if (gpu)
    g_assert_true (pt_pipeline_takes_frames (pipeline, store.device));
  outcome.up = pt_emulation_get_bytes (FALSE);
  outcome.down = pt_emulation_get_bytes (TRUE);
  feed (pipeline, &store, 0, N_FRAMES, &outcome);
  outcome.up = pt_emulation_get_bytes (FALSE) - outcome.up;
  outcome.down = pt_emulation_get_bytes (TRUE) - outcome.down;
  stream_drain (pipeline);
  pt_pipeline_stop (pipeline);
  outcome.weights = stream_hash_weights (network);
  store_clear (&store);
  return outcome;
}

static void
test_same (gconstpointer data)
{
  const Case *item = data;
  Outcome host = run (item, FALSE), gpu = run (item, TRUE);

  g_assert_cmpuint (gpu.hash, ==, host.hash);
  g_assert_cmpuint (gpu.weights, ==, host.weights);
}

/* The output and what is told of it goes down, nothing up. */
static void
test_no_copies (void)
{
  Case item = { "mode=off", "cuda:0", "1" };
  Outcome host = run (&item, FALSE), gpu = run (&item, TRUE);
  gsize picture = PIXELS * sizeof (gfloat);

  g_assert_cmpuint (host.up, >=, N_FRAMES * 2 * picture);
  g_assert_cmpuint (gpu.up, ==, 0);
  g_assert_cmpuint (gpu.down, ==, host.down);
  g_assert_cmpuint (gpu.down, <=, N_FRAMES * (picture + 64));
}

/* Learned from, the frame goes down once, to be measured by, and no way up:
 * what does is the numbers of each update. */
static void
test_learning_copies (void)
{
  Case item = { "mode=exact\ntarget=input", "cuda:0", "1" };
  Outcome gpu = run (&item, TRUE);
  gsize picture = PIXELS * sizeof (gfloat);

  g_assert_cmpuint (gpu.up, <, N_FRAMES * picture);
  g_assert_cmpuint (gpu.down, <=, N_FRAMES * (2 * picture + 64));
}

/* Frames of the host may come in between: of other caps, say. */
static void
test_mixed (void)
{
  Case item = { "mode=partime\ntarget=next", "cuda:0,cuda:1", "3,4" };
  g_autoptr (PtNetwork) network = new_network (&item);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);
  Outcome expected = run (&item, FALSE), outcome = { 0 };
  Store store, none;
  guint taken = 0;

  store_init (&store, TRUE);
  store_init (&none, FALSE);
  pt_pipeline_set_frame_device (pipeline, store.device);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  for (guint f = 0; f < N_FRAMES;) {
    PtFlow flow = push (pipeline, f % 3 == 1 ? &none : &store, f, NULL,
        &error);

    g_assert_no_error (error);
    if (flow == PT_FLOW_OK)
      f++;
    else if (taken++ < N_FRAMES)
      take (pipeline, &outcome);
  }
  while (taken++ < N_FRAMES)
    take (pipeline, &outcome);
  g_assert_cmpuint (outcome.hash, ==, expected.hash);
  pt_pipeline_stop (pipeline);
  store_clear (&store);
}

/* On a stream of its own, as asked to. */
static gpointer
bring (gpointer data)
{
  Store *store = data;
  const PtBackend *backend = store->device->backend;
  gpointer order;

  while ((order = g_async_queue_pop (store->orders)) != data) {
    gsize at = (GPOINTER_TO_SIZE (order) - 1) * PIXELS;

    /* after a while */
    for (guint i = 0; i <= LATE; i++)
      backend->copy (store->device, (guint8 *) store->memory->data
          + (i < LATE ? N_FRAMES * PIXELS : at),
          (guint8 *) store->source->data + at, PIXELS, NULL);
    backend->fence_signal (store->device, store->fence, NULL);
    g_async_queue_push (store->done, order);
  }
  return NULL;
}

/* A frame that is not there yet is waited for, on the GPU; once the frames
 * have been read their memory is free. */
static void
test_order (void)
{
  Case item = { "mode=off", "cuda:0", "1" };
  g_autoptr (PtNetwork) network = new_network (&item);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);
  Outcome expected = run (&item, FALSE), outcome = { 0 };
  g_autofree guint8 *zeros = g_malloc0 (N_FRAMES * PIXELS);
  const PtBackend *backend;
  GThread *thread;
  Store store;

  store_init (&store, TRUE);
  backend = store.device->backend;
  store.late = TRUE;
  store.orders = g_async_queue_new ();
  store.done = g_async_queue_new ();
  thread = g_thread_new ("bring", bring, &store);
  pt_pipeline_set_frame_device (pipeline, store.device);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  backend->upload (store.device, store.memory->data, zeros, N_FRAMES * PIXELS,
      &error);
  for (guint f = 0; f < N_FRAMES; f++) {
    g_async_queue_push (store.orders, GSIZE_TO_POINTER (f + 1));
    g_async_queue_pop (store.done);
    g_assert_cmpint (push (pipeline, &store, f, NULL, &error), ==,
        PT_FLOW_OK);
    pt_pipeline_wait_frames (pipeline);
    backend->upload (store.device, store.memory->data, zeros,
        N_FRAMES * PIXELS, &error);
    g_assert_no_error (error);
    take (pipeline, &outcome);
  }
  g_assert_cmpuint (outcome.hash, ==, expected.hash);
  g_async_queue_push (store.orders, &store);
  g_thread_join (thread);
  g_async_queue_unref (store.orders);
  g_async_queue_unref (store.done);
  pt_pipeline_stop (pipeline);
  store_clear (&store);
}

/* Stages elsewhere: frames are refused, pixels are taken. */
static void
test_elsewhere (void)
{
  Case item = { "mode=off", "cuda:1", "1" };
  g_autoptr (PtNetwork) network = new_network (&item);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);
  Store store, none;

  store_init (&store, TRUE);
  store_init (&none, FALSE);
  pt_pipeline_set_frame_device (pipeline, store.device);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  g_assert_false (pt_pipeline_takes_frames (pipeline, store.device));
  g_assert_cmpint (push (pipeline, &none, 0, NULL, &error), ==, PT_FLOW_OK);
  g_assert_cmpint (push (pipeline, &store, 0, NULL, &error), ==,
      PT_FLOW_ERROR);
  g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "cuda:1"));
  pt_pipeline_stop (pipeline);
  store_clear (&store);
}

/* Another pipeline takes over in the middle, by @devices; where frames cannot
 * go in as they are, from the host. */
static Outcome
run_replaced (const Case *item, const gchar *devices, gboolean gpu)
{
  const Case then = { item->learning, devices, item->stages };
  g_autoptr (PtNetwork) network = new_network (item);
  g_autoptr (PtNetwork) next = new_network (&then);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) a = pt_pipeline_new (network, &error);
  g_autoptr (PtPipeline) b = pt_pipeline_new (next, &error);
  Outcome outcome = { 0 };
  PtReplacement what;
  Store store, none;

  store_init (&store, gpu);
  store_init (&none, FALSE);
  pt_pipeline_set_frame_device (a, store.device);
  g_assert_true (pt_pipeline_start (a, &error));
  g_assert_true (pt_pipeline_start_beside (b, a, &error));
  feed (a, &store, 0, N_FRAMES / 2, &outcome);
  g_assert_true (pt_pipeline_replace (a, b, &what, &error));
  g_assert_true (what.kept_weights);
  feed (b, gpu && pt_pipeline_takes_frames (b, store.device) ? &store : &none,
      N_FRAMES / 2, N_FRAMES, &outcome);
  g_assert_cmpint (gpu && g_str_has_prefix (devices, "cuda:0"), ==,
      gpu && pt_pipeline_takes_frames (b, store.device));
  pt_pipeline_stop (a);
  stream_drain (b);
  pt_pipeline_stop (b);
  outcome.weights = stream_hash_weights (next);
  store_clear (&store);
  return outcome;
}

/* Models change while frames are on the GPU. */
static void
test_replaced (gconstpointer devices)
{
  static const Case taken_over[] = {
    {"mode=partime\ntarget=next", "cuda:0,cuda:1", "3,4"},
    {"mode=exact\ntarget=input\nreplay=4\nreplay-interval=2", "cuda:0",
        "3,4"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (taken_over); i++) {
    const Case *item = &taken_over[i];
    Outcome host, gpu;

    /* what is kept for replay stays where it is */
    if (i == 1 && !g_str_equal (devices, "cuda:0"))
      continue;
    host = run_replaced (item, devices, FALSE);
    gpu = run_replaced (item, devices, TRUE);
    g_assert_cmpuint (gpu.hash, ==, host.hash);
    g_assert_cmpuint (gpu.weights, ==, host.weights);
  }
}

/* One of several streams is made of pixels, whose network could take frames. */
static void
test_shared (void)
{
  Case item = { "mode=exact\ntarget=next", "cuda:0", "3,4" };
  g_autoptr (PtNetwork) network = new_network (&item);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);
  Outcome expected = run (&item, FALSE);
  guint64 hash = 0;
  guint8 pixels[PIXELS];
  PtStream *stream;
  Store store;

  store_init (&store, TRUE);
  pt_pipeline_set_frame_device (pipeline, store.device);
  g_assert_true (pt_pipeline_start (pipeline, &error));
  stream = pt_stream_new (pipeline, &error);
  g_assert_no_error (error);
  for (guint f = 0; f < N_FRAMES; f++) {
    g_autoptr (PtResult) result = NULL;

    draw (f, pixels);
    g_assert_cmpint (pt_stream_push_pixels (stream, pixels, STREAM_WIDTH, NULL,
            PT_PUSH_NONE, &error), ==, PT_FLOW_OK);
    g_assert_cmpint (pt_stream_pull (stream, &result, &error), ==, PT_FLOW_OK);
    hash = stream_hash (hash, result->output->data, result->output->size);
    hash = stream_hash (hash, &result->loss, sizeof result->loss);
    hash = stream_hash (hash, result->measures, sizeof result->measures);
  }
  pt_stream_free (stream);
  pt_pipeline_stop (pipeline);
  g_assert_cmpuint (hash, ==, expected.hash);
  g_assert_cmpuint (stream_hash_weights (network), ==, expected.weights);
  store_clear (&store);
}

int
main (int argc, char **argv)
{
  g_setenv ("PARTIME_EMULATED_DELAY_US", "40", FALSE);
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *name = g_strdup_printf ("/frames-gpu/same/%u", i);

    g_test_add_data_func (name, &cases[i], test_same);
  }
  g_test_add_func ("/frames-gpu/no-copies", test_no_copies);
  g_test_add_func ("/frames-gpu/learning-copies", test_learning_copies);
  g_test_add_func ("/frames-gpu/mixed", test_mixed);
  g_test_add_func ("/frames-gpu/order", test_order);
  g_test_add_func ("/frames-gpu/elsewhere", test_elsewhere);
  g_test_add_data_func ("/frames-gpu/replaced/there", "cuda:0", test_replaced);
  g_test_add_data_func ("/frames-gpu/replaced/other-gpu", "cuda:1",
      test_replaced);
  g_test_add_data_func ("/frames-gpu/replaced/host", "cpu:0", test_replaced);
  g_test_add_func ("/frames-gpu/shared", test_shared);
  return g_test_run ();
}
