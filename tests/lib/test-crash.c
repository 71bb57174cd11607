/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Checkpoints when everything goes wrong: the process is killed while it
 * saves, the disk is full, the folder is read-only, the file is damaged. */

#include "stream.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define KILLS 20
#else
#define KILLS 200
#endif
#define FLIPS 400
#define CANNOT 77               /* exit status: this machine does not let us */

static const gchar *program;
static gchar *folder;

static PtPipeline *
crash_start (PtNetwork **network)
{
  *network = stream_network ("partime", "cpu:0", "2,3,2");
  return stream_start (*network);
}

/* -- what the children do -- */

static void
crash_save_forever (const gchar *path)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (PtPipeline) pipeline = crash_start (&network);
  StreamSums sums = { 0 };

  pt_pipeline_set_checkpoint_keep (pipeline, 2);
  for (;;) {
    stream_feed (pipeline, &sums, sums.frames, 1);
    pt_pipeline_save_async (pipeline, path);
  }
}

/* Prints the error there must be, and goes on with the stream. */
static gint
crash_save_once (const gchar *path)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (PtPipeline) pipeline = crash_start (&network);
  g_autoptr (GError) error = NULL;
  StreamSums sums = { 0 };

  stream_feed (pipeline, &sums, 0, 5);
  if (pt_pipeline_save (pipeline, path, &error))
    return 1;
  if (!g_error_matches (error, PT_ERROR, PT_ERROR_FILE))
    return 2;
  g_print ("# %s\n", error->message);
  stream_feed (pipeline, &sums, 5, 5);
  return 0;
}

static gint
crash_save_limited (const gchar *path)
{
  struct rlimit limit = { 4096, 4096 };

  signal (SIGXFSZ, SIG_IGN);
  return setrlimit (RLIMIT_FSIZE, &limit) != 0 ? CANNOT :
      crash_save_once (path);
}

/* On a disk of two pages, which holds no checkpoint. */
static gint
crash_save_full (const gchar *path)
{
  g_autofree gchar *disk = g_path_get_dirname (path);

  if (unshare (CLONE_NEWNS) != 0
      || mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
      || mount ("tmpfs", disk, "tmpfs", 0, "size=8k") != 0)
    return CANNOT;
  return crash_save_once (path);
}

/* In a folder that it may not write to; root may write to any. */
static gint
crash_save_read_only (const gchar *path)
{
  if (getuid () == 0 && (setgid (65534) != 0 || setuid (65534) != 0))
    return CANNOT;
  return crash_save_once (path);
}

static gint
crash_run_child (const gchar *what, const gchar *path)
{
  if (g_str_equal (what, "forever"))
    crash_save_forever (path);
  if (g_str_equal (what, "limited"))
    return crash_save_limited (path);
  if (g_str_equal (what, "full"))
    return crash_save_full (path);
  return crash_save_read_only (path);
}

/* -- what is made of it -- */

static GPid
crash_spawn (const gchar *what, const gchar *path)
{
  gchar *argv[] = { (gchar *) program, (gchar *) "--child", (gchar *) what,
    (gchar *) path, NULL };
  g_autoptr (GError) error = NULL;
  GPid pid;

  g_spawn_async (NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
      &pid, &error);
  g_assert_no_error (error);
  return pid;
}

/* Frames that the checkpoint is of; the file is whole. */
static guint64
crash_load (const gchar *path)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (PtPipeline) pipeline = crash_start (&network);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtResult) result = NULL;
  g_autoptr (PtTensor) next = stream_frame (0);
  gboolean whole = FALSE;

  pt_pipeline_resume (pipeline, path, &whole, &error);
  g_assert_no_error (error);
  g_assert_true (whole);
  pt_pipeline_push (pipeline, next, NULL, PT_PUSH_NONE, &error);
  g_assert_no_error (error);
  g_assert_cmpint (pt_pipeline_pull (pipeline, &result, &error), ==,
      PT_FLOW_OK);
  return result->frame;
}

static void
crash_empty (const gchar *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const gchar *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree gchar *file = g_build_filename (path, name, NULL);

    g_unlink (file);
  }
}

/* Whether the file is not the one that @before tells of, which then tells of
 * it. */
static gboolean
crash_is_new (const gchar *path, GStatBuf *before)
{
  GStatBuf now, last = *before;

  if (g_stat (path, &now) != 0)
    return FALSE;
  *before = now;
  return now.st_ino != last.st_ino || now.st_mtim.tv_sec != last.st_mtim.tv_sec
      || now.st_mtim.tv_nsec != last.st_mtim.tv_nsec;
}

/* Every fourth is killed as it starts, the others while they save, over and
 * over: after the first, second and third time. */
static void
test_kill (void)
{
  g_autofree gchar *path = g_build_filename (folder, "k.safetensors", NULL);
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  guint64 most = 0;

  for (guint i = 0; i < KILLS; i++) {
    GStatBuf before = { 0 };
    gint64 start = g_get_monotonic_time ();
    gint status;
    GPid pid;

    g_stat (path, &before);
    pid = crash_spawn ("forever", path);
    for (guint saved = 0; saved < (i + 1) % 4
        && g_get_monotonic_time () - start < 60 * G_USEC_PER_SEC;) {
      saved += crash_is_new (path, &before);
      g_usleep (500);
    }
    g_usleep (g_rand_int_range (rand, 0, 20000));
    kill (pid, SIGKILL);
    g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
    g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
    most = MAX (most, crash_load (path));
  }
  g_test_message ("%u kills, each left a whole checkpoint, of up to %"
      G_GUINT64_FORMAT " frames", KILLS, most);
  g_assert_cmpuint (most, >, 1);
  crash_empty (folder);
}

/* A child whose checkpoint cannot be written: what was there stays. */
static void
test_unwritable (gconstpointer what)
{
  g_autofree gchar *inner = g_build_filename (folder, "inner", NULL);
  g_autofree gchar *path = g_build_filename (inner, "u.safetensors", NULL);
  g_autofree gchar *contents = NULL;
  gint status;

  g_assert_cmpint (g_mkdir (inner, 0755), ==, 0);
  g_assert_cmpint (g_chmod (folder, 0755), ==, 0);
  g_assert_true (g_file_set_contents (path, "before", -1, NULL));
  if (g_str_equal (what, "read-only"))
    g_assert_cmpint (g_chmod (inner, 0555), ==, 0);
  g_assert_cmpint (waitpid (crash_spawn (what, path), &status, 0), >, 0);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) == CANNOT)
    g_test_skip (g_str_equal (what, "full") ? "no right to mount a small disk"
        : "no right to change limits or users");
  else
    g_assert_cmpint (WEXITSTATUS (status), ==, 0);
  g_assert_true (g_file_get_contents (path, &contents, NULL, NULL));
  g_assert_cmpstr (contents, ==, "before");
  g_chmod (inner, 0755);
  crash_empty (inner);
  g_assert_cmpint (g_rmdir (inner), ==, 0);
}

/* One bit wrong, anywhere: refused with nothing changed, or a number that is
 * another. Never worse. */
static void
test_flips (void)
{
  g_autofree gchar *path = g_build_filename (folder, "f.safetensors", NULL);
  g_autofree gchar *bad = g_build_filename (folder, "b.safetensors", NULL);
  g_autoptr (GRand) rand = g_rand_new_with_seed (2);
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (PtPipeline) pipeline = crash_start (&network);
  g_autofree gchar *contents = NULL;
  StreamSums sums = { 0 };
  gsize length;
  guint refused = 0;

  stream_feed (pipeline, &sums, 0, 9);
  g_assert_true (pt_pipeline_save (pipeline, path, NULL));
  g_assert_true (g_file_get_contents (path, &contents, &length, NULL));
  for (guint i = 0; i < FLIPS; i++) {
    /* half of them in the header, which is short */
    gsize at = g_rand_int_range (rand, 0, i % 2 ? length : 6000);
    gchar bit = 1 << g_rand_int_range (rand, 0, 8);
    g_autoptr (GError) error = NULL;

    contents[at] ^= bit;
    g_assert_true (g_file_set_contents (bad, contents, length, NULL));
    contents[at] ^= bit;
    if (pt_pipeline_load (pipeline, bad, &error))
      continue;
    g_assert_true (error->domain == PT_ERROR);
    g_assert_nonnull (strstr (error->message, bad));
    refused++;
  }
  g_test_message ("%u of %u refused", refused, FLIPS);
  g_assert_cmpuint (refused, >, FLIPS / 8);
  g_assert_true (pt_pipeline_load (pipeline, path, NULL));
  stream_feed (pipeline, &sums, 9, 5);
  g_assert_cmpuint (sums.invalid, ==, 0);
  crash_empty (folder);
}

int
main (int argc, char **argv)
{
  gint result;

  program = argv[0];
  if (argc == 4 && g_str_equal (argv[1], "--child"))
    return crash_run_child (argv[2], argv[3]);
  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  g_test_add_func ("/crash/kill", test_kill);
  g_test_add_data_func ("/crash/limited", "limited", test_unwritable);
  g_test_add_data_func ("/crash/full", "full", test_unwritable);
  g_test_add_data_func ("/crash/read-only", "read-only", test_unwritable);
  g_test_add_func ("/crash/flips", test_flips);
  result = g_test_run ();
  g_assert_cmpint (g_rmdir (folder), ==, 0);
  g_free (folder);
  return result;
}
