/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What other threads ask of a stream while it runs. */

#include "stream.h"

#include <glib/gstdio.h>
#include <unistd.h>

#define PATIENCE 60             /* s, after which a wait is one for ever */

static gchar *folder;

static gchar *
get_path (const gchar *name)
{
  return g_build_filename (folder, name, NULL);
}

static gpointer
push_all (gpointer data)
{
  for (guint i = 0; i < 300; i++) {
    g_autoptr (PtTensor) frame = stream_frame (i);

    /* learned frames, and so replayed ones, at no regular distance */
    g_assert_cmpint (pt_pipeline_push (data, frame, NULL,
            i % 7 == 3 ? PT_PUSH_NO_LEARN : PT_PUSH_NONE, NULL), ==,
        PT_FLOW_OK);
  }
  return NULL;
}

/* Who pulls slowly, and takes a checkpoint of each frame, gets every one. */
static void
test_replay_and_save (void)
{
  g_autofree gchar *path = get_path ("replay.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("delayed", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GThread) thread = NULL;
  StreamSums sums = { 0 };

  pt_network_set (network, "learning", "replay", "8", NULL);
  pt_network_set (network, "learning", "replay-interval", "2", NULL);
  pipeline = stream_start (network);
  alarm (PATIENCE);
  thread = g_thread_new ("push", push_all, pipeline);
  while (sums.frames < 300) {
    stream_take (pipeline, &sums);
    g_usleep (1000);
    pt_pipeline_save_async (pipeline, path);
  }
  g_thread_join (g_steal_pointer (&thread));
  alarm (0);
  pt_pipeline_stop (pipeline);
}

typedef struct
{
  PtPipeline *pipeline;
  const gchar *path;
} Load;

static gpointer
load (gpointer data)
{
  const Load *self = data;

  g_assert_true (pt_pipeline_load (self->pipeline, self->path, NULL));
  return NULL;
}

/* Nobody pulls: the stages stop, and what is sent behind the frames. That one
 * frame finds no room may only say that a stage waits for its core. */
static void
fill (PtPipeline *pipeline)
{
  for (guint refused = 0; refused < 10;) {
    g_autoptr (PtTensor) frame = stream_frame (0);

    g_usleep (20000);
    refused = pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY,
        NULL) == PT_FLOW_OK ? 0 : refused + 1;
  }
}

/* A flush while new weights are on their way leaves them in all stages. */
static void
test_load_and_flush (gconstpointer cut)
{
  g_autofree gchar *path = get_path ("load.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0", cut);
  g_autoptr (PtNetwork) other = stream_network ("partime", "cpu:0", cut);
  g_autoptr (PtPipeline) pipeline = NULL;
  GThread *thread;
  Load what;

  pt_network_init_weights (other, 99);
  g_assert_true (pt_network_save_weights (other, path, NULL));
  pipeline = stream_start (network);
  what = (Load) { pipeline, path };
  fill (pipeline);
  alarm (PATIENCE);
  thread = g_thread_new ("load", load, &what);
  g_usleep (50000);
  pt_pipeline_set_flushing (pipeline, TRUE);
  pt_pipeline_set_flushing (pipeline, FALSE);
  g_thread_join (thread);
  alarm (0);
  pt_pipeline_stop (pipeline);
  g_assert_cmpuint (stream_hash_weights (network), ==,
      stream_hash_weights (other));
}

static void
be_slow (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  g_usleep (50000);
}

/* Checkpoints that wait for the disk do not take the place of a newer one. */
static void
test_last_save_wins (void)
{
  g_autofree gchar *path = get_path ("last.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "3,4");
  g_autoptr (PtNetwork) saved = stream_network ("exact", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, NULL);
  g_autoptr (GError) error = NULL;
  StreamSums sums = { 0 };

  pt_pipeline_set_event_func (pipeline, be_slow, NULL);
  g_assert_true (pt_pipeline_start (pipeline, NULL));
  for (guint i = 0; i < 5; i++) {
    stream_feed (pipeline, &sums, i, 1);
    pt_pipeline_save_async (pipeline, path);
  }
  stream_feed (pipeline, &sums, 5, 1);
  stream_drain (pipeline);
  g_assert_true (pt_pipeline_save (pipeline, path, &error));
  g_assert_no_error (error);
  pt_pipeline_stop (pipeline);
  g_assert_true (pt_network_load_weights (saved, path, NULL));
  g_assert_cmpuint (stream_hash_weights (network), ==,
      stream_hash_weights (saved));
}

static gpointer
save (gpointer data)
{
  const Load *self = data;
  GError *error = NULL;

  g_assert_false (pt_pipeline_save (self->pipeline, self->path, &error));
  return error;
}

static void
count_saves (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  g_assert_no_error (event->error);
  g_atomic_int_inc ((gint *) data);
}

/* Who waits for a checkpoint while frames stand still is let go by a flush;
 * the checkpoint is written all the same, and told of. */
static void
test_save_and_flush (void)
{
  g_autofree gchar *path = get_path ("flush.safetensors");
  g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, NULL);
  g_autoptr (GError) error = NULL;
  Load what = { pipeline, path };
  gint saved = 0;
  GThread *thread;

  pt_pipeline_set_event_func (pipeline, count_saves, &saved);
  g_assert_true (pt_pipeline_start (pipeline, NULL));
  fill (pipeline);
  alarm (PATIENCE);
  thread = g_thread_new ("save", save, &what);
  g_usleep (50000);
  pt_pipeline_set_flushing (pipeline, TRUE);
  error = g_thread_join (thread);
  g_assert_error (error, PT_ERROR, PT_ERROR_FAILED);
  pt_pipeline_set_flushing (pipeline, FALSE);
  pt_pipeline_stop (pipeline);
  alarm (0);
  g_assert_cmpint (saved, ==, 1);
  g_assert_true (pt_network_load_weights (network, path, NULL));
}

gint
main (gint argc, gchar **argv)
{
  const gchar *const names[] = { "replay.safetensors", "load.safetensors",
    "last.safetensors", "flush.safetensors", NULL };
  gint result;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  g_test_add_func ("/while-running/replay-and-save", test_replay_and_save);
  g_test_add_data_func ("/while-running/load-and-flush/1", "7", test_load_and_flush);
  g_test_add_data_func ("/while-running/load-and-flush/3", "2,3,2",
      test_load_and_flush);
  g_test_add_func ("/while-running/last-save-wins", test_last_save_wins);
  g_test_add_func ("/while-running/save-and-flush", test_save_and_flush);
  result = g_test_run ();
  for (const gchar *const *name = names; *name != NULL; name++) {
    g_autofree gchar *path = get_path (*name);

    g_unlink (path);
  }
  g_assert_cmpint (g_rmdir (folder), ==, 0);
  g_free (folder);
  return result;
}
