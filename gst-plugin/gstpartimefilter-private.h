/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The element from the inside. gstpartimefilter.c: pads and states;
 * properties.c: settings; session.c: from open to close; model.c: a network and
 * its pipeline; update.c: another one is made ready, change.c: and takes its
 * place; instance.c: one for several elements; source.c: the source task and
 * what it sends on; tensors.c: outputs as tensors; score.c: frames compared
 * with their results; queries.c: what pads answer; labels.c: what frames learn
 * from; classes.c: classes found; cuda/filter.c: frames in CUDA memory;
 * stats.c: what is measured; errors.c: what is posted when something fails. */

#pragma once

#include <gst/base/gstqueuearray.h>

#include "annotators/annotator.h"
#include "frame-tensor.h"
#include "gstpartimefilter.h"
#include "labels.h"
#include "stats-file.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN (gst_partime_filter_debug);
#define GST_CAT_DEFAULT gst_partime_filter_debug

/* "As the network file says", for the enums and numbers that override it. */
#define FROM_FILE -1

typedef enum
{
  GST_PARTIME_OUTPUT_FRAMES,
  GST_PARTIME_OUTPUT_NETWORK,
  GST_PARTIME_OUTPUT_TENSORS,
} GstPartimeOutput;

typedef enum
{
  GST_PARTIME_TIMING_ALIGNED,
  GST_PARTIME_TIMING_LATEST,
} GstPartimeTiming;

/* The properties; under the object lock. */
typedef struct
{
  gchar *model, *weights, *devices, *stages, *precision, *loss, *optimizer;
  gboolean deterministic;
  gint learning_mode;           /* PtMode, or FROM_FILE */
  gboolean learn;
  gdouble learning_rate;        /* below 0: the file's */
  guint learn_interval;         /* 0: the file's */
  gint learn_policy;            /* PtLearnPolicy, or FROM_FILE */
  GstPartimeOutput output;
  gboolean overlay;
  GstPartimeTiming timing;
  gchar *checkpoint_location, *labels_file;
  gdouble threshold;
  guint top_k;
  guint64 checkpoint_interval;
  gint64 seed;                  /* below 0: the file's */
  gboolean qos;
  gboolean latency_report;
  guint64 stats_interval;
  guint64 label_tolerance, label_wait;  /* GST_CLOCK_TIME_NONE: auto */
  gchar *stats_location;
  GstStructure *settings;       /* group.key: value */
  gint cuda_device_id;          /* below 0: any */
  gboolean is_updatable;
  gchar *model_instance_id;
  guint checkpoint_keep;
  gboolean resume_stream;
} GstPartimeSettings;

typedef struct _GstPartimeInstance GstPartimeInstance;

/* Of the frames, and so of a network whose file leaves its own open. */
typedef struct
{
  gint width, height;
  gboolean nominal;             /* frames have not come: what is made only
                                 * shows whether it can be */
  gboolean is_open;             /* (out): the network's size depends on it */
} GstPartimeSize;

/* Many a network takes a power of two. */
#define GST_PARTIME_NOMINAL_SIZE { 256, 256, TRUE, FALSE }
#define GST_PARTIME_OTHER_SIZE { 320, 192, TRUE, FALSE }

/* A network at work, and what follows from it. Frames that wait for their
 * results keep the one that they were given to. */
typedef struct _GstPartimeModel GstPartimeModel;
struct _GstPartimeModel
{
  gchar *path;
  gchar *weights;               /* or NULL; under the object lock */
  PtNetwork *network;
  PtPipeline *pipeline;
  GstPartimeInstance *instance; /* NULL: nobody else has this network */
  GstPartimeModel *shared;      /* with an instance: nobody's own, which stops
                                 * when the last element leaves it */
  PtReplacement what;           /* with an instance: what is kept of the one
                                 * before */
  PtStream *stream;             /* with an instance, once it runs; set under
                                 * the object lock */
  gboolean learns;
  GstPartimeSize size;          /* of the frames that it was made for */
  GstPartimeDrawing *drawing;   /* NULL: nothing can be drawn */
  guint n_classes;              /* 0: the output is not classes */
  GPtrArray *tensor_infos;      /* of GstStructure, for each output */
  GstPartimeFormat *score_format;       /* [output] kind=error; source side */
  GstPartimeCudaPainter *painter;       /* of @painted, in CUDA memory; source
                                         * side */
  GstVideoInfo painted;
};

/* What waits for its turn at the source pad. */
typedef enum
{
  GST_PARTIME_FRAME,            /* a result is to be pulled for it */
  GST_PARTIME_LAST,             /* the model has no frames after this */
  GST_PARTIME_EVENT,
  GST_PARTIME_QUERY,            /* somebody waits until it is answered */
} GstPartimeItemKind;

typedef struct
{
  GstPartimeItemKind kind;
  gpointer object;              /* GstBuffer, GstEvent or GstQuery; with
                                 * timing=latest no buffer */
  GstPartimeFormat *format;     /* of the buffer */
  GstPartimeModel *model;       /* of a frame, the last one, or EOS */
  guint64 number;               /* of the frame, since start or flush */
  GstClockTime pts;             /* of the frame */
} GstPartimeItem;

/* Part of the element: other models and weights while it plays. */
typedef struct
{
  guint setting;                /* bits: properties that are being set; under
                                 * the object lock */
  GMutex lock;                  /* of what follows */
  GCond cond;
  GThread *thread;              /* NULL until it is needed */
  gboolean quit;
  gboolean held;                /* until the first caps */
  guint asked;                  /* bits: what is to be done */
  gboolean preparing;           /* a model, on the thread */
  gboolean uncommitted;         /* a model was asked for, and is not in place */
  GstPartimeModel *ready;       /* atomic reads; for the next frame */
  GQueue retired;               /* models to be stopped */
  GQueue skipped;               /* models that are not for the next frame */
} GstPartimeUpdate;

#define GST_PARTIME_UPDATE_MODEL 1
#define GST_PARTIME_UPDATE_WEIGHTS 2

struct _GstPartimeFilter
{
  GstElement parent;
  GstPad *sinkpad, *srcpad;
  GstPartimeCuda *cuda;         /* NULL: no frames in CUDA memory */
  GstPartimeSettings settings;

  /* From READY to PAUSED and back. */
  gchar *path, *weights;        /* as they were set then */
  GstPartimeModel *model;       /* for the next frame; changes on the sink
                                 * pad's thread, under the object lock; NULL
                                 * while caps are to tell its size */
  GstPartimeOutput output;
  GstPartimeTiming timing;
  gchar *checkpoint;
  gboolean resume;              /* the checkpoint was there at the start */
  gchar **labels;
  guint n_labels;
  GstCaps *tensor_caps;
  gint failed;                  /* atomic: one error has been posted */
  GMutex running_lock;          /* held by who reads statistics */
  gboolean running;

  /* Sink pad's streaming thread. */
  GstPartimeFormat *format;
  GstSegment segment;
  gboolean discont;
  guint64 n_frames;             /* since start or flush */

  /* Under @lock, @cond says that any of it changed. */
  GMutex lock;
  GCond cond;
  gboolean started;             /* the pipeline runs */
  GQueue models;                /* that have frames inside, the newest last */
  gboolean flushing;
  GstFlowReturn flow;           /* of the source pad */
  gboolean eos;                 /* the end is in the queue */
  GstQueueArray *queue;         /* GstPartimeItem */
  guint64 n_queued, n_done;     /* items ever; who waits compares */
  gboolean in_hand;             /* the task is at an item */
  gboolean query_result;
  PtResult *newest;             /* timing=latest */
  GstPartimeModel *newest_model;
  guint64 newest_number;
  GstPartimeLabels targets;

  /* Source side: the task, or with timing=latest the sink's thread. */
  GstBufferPool *pool;          /* output=network */
  GstVideoInfo picture_info;
  gboolean need_pool;           /* downstream is to be asked again */
  GstBuffer *last_picture;
  gint64 last_save, first_stats, last_stats;    /* us */
  gint saving;                  /* atomic: checkpoints under way */
  GstPartimeStatsFile *stats_file;      /* NULL: none asked for */
  gboolean stats_file_failed;   /* the last line could not be written */
  GstClockTime result_pts;      /* of the newest result's frame */

  GstPartimeUpdate update;

  /* Under the object lock. */
  gboolean live;
  gdouble target_fps;           /* of a live stream, or 0 */
  GstClockTime frame_duration;
  gdouble latency_mean, latency_spread; /* ns, smoothed; below 0: unknown */
  GstClockTime latency;         /* as last reported */
  gint64 latency_changed;       /* us */
  guint64 dropped;              /* by QoS */
  gdouble proportion;
  GstClockTime earliest;        /* running time, by downstream's QoS */
};

/* gstpartimefilter.c */
gboolean gst_partime_filter_forward (GstPartimeFilter *self, GstEvent *event);

/* properties.c */
void gst_partime_filter_install_properties (GObjectClass *klass);
void gst_partime_settings_init (GstPartimeSettings *self);
void gst_partime_settings_clear (GstPartimeSettings *self);

/* settings.c */
void gst_partime_settings_copy (const GstPartimeSettings *src,
    GstPartimeSettings *dst);
gchar **gst_partime_settings_list (const GstPartimeSettings *self);
gboolean gst_partime_settings_apply (const GstPartimeSettings *s,
    PtNetwork *network, GError **error);
void gst_partime_filter_apply_live (GstPartimeFilter *self,
    GstPartimeModel *model);

/* model.c */
GstPartimeModel *gst_partime_model_new (GstPartimeFilter *self,
    const GstPartimeSettings *decided, const gchar *path,
    const gchar *weights, GstPartimeSize *size, const gchar **culprit,
    GError **error);
gboolean gst_partime_model_may_fit_other (const GstPartimeSize *size,
    const GError *error, const gchar *culprit);
GstPartimeModel *gst_partime_model_new_shared (GstPartimeFilter *self,
    GstPartimeModel *shared, GError **error);
gboolean gst_partime_model_same_input (GstPartimeModel *a,
    GstPartimeModel *b);
PtPipeline *gst_partime_model_ref_pipeline (GstPartimeModel *self);
void gst_partime_model_stop (GstPartimeModel *self);
void gst_partime_model_clear_painter (GstPartimeModel *self);
void gst_partime_model_wait_frames (GstPartimeModel *self);
PtFlow gst_partime_model_push (GstPartimeModel *self,
    const GstPartimeSight *sight, PtTensor *target, PtPushFlags flags,
    GError **error);
PtFlow gst_partime_model_pull (GstPartimeModel *self, PtResult **result,
    GError **error);
PtFlow gst_partime_model_drain (GstPartimeModel *self, GError **error);
void gst_partime_model_set_flushing (GstPartimeModel *self,
    gboolean flushing);
void gst_partime_model_get_stats (GstPartimeModel *self,
    PtPipelineStats *stats);
GstPartimeModel *gst_partime_model_ref (GstPartimeModel *self);
void gst_partime_model_unref (GstPartimeModel *self);
GstPartimeModel *gst_partime_filter_ref_model (GstPartimeFilter *self);
gboolean gst_partime_filter_is_current (GstPartimeFilter *self,
    PtPipeline *pipeline);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeModel, gst_partime_model_unref)

/* instance.c */
void gst_partime_instance_know (GstPartimeFilter *filter, gboolean ready);
typedef gboolean (*GstPartimeStartFunc) (GstPartimeFilter *self);
GstPartimeModel *gst_partime_instance_open (GstPartimeFilter *filter,
    GstPartimeSize *size, const gchar **culprit, GError **error);
void gst_partime_instance_leave (GstPartimeInstance *self,
    GstPartimeFilter *filter);
void gst_partime_instance_unref (GstPartimeInstance *self);
const gchar *gst_partime_instance_get_resume (GstPartimeInstance *self);
gboolean gst_partime_instance_start (GstPartimeFilter *filter,
    GstPartimeStartFunc start);
void gst_partime_instance_wait (GstPartimeInstance *self);
gboolean gst_partime_instance_is_writer (GstPartimeInstance *self,
    GstPartimeFilter *filter);
void gst_partime_instance_save (GstPartimeInstance *self,
    GstPartimeFilter *filter, const gchar *path);
PtPipeline *gst_partime_instance_ref_pipeline (GstPartimeInstance *self);
gboolean gst_partime_instance_replace (GstPartimeFilter *filter,
    GstPartimeModel *running, const gchar *path, const gchar *weights,
    GError **error);

/* update.c */
void gst_partime_update_init (GstPartimeUpdate *self);
void gst_partime_update_clear (GstPartimeUpdate *self);
void gst_partime_update_set (GstPartimeFilter *self, guint bit,
    const gchar *name);
void gst_partime_update_ask (GstPartimeFilter *self);
void gst_partime_update_hold (GstPartimeFilter *self, gboolean held);
gboolean gst_partime_update_is_held (GstPartimeFilter *self);
void gst_partime_update_quit (GstPartimeFilter *self);
void gst_partime_update_join (GstPartimeFilter *self);
void gst_partime_update_give (GstPartimeFilter *self, GstPartimeModel *model);
void gst_partime_update_retire (GstPartimeFilter *self,
    GstPartimeModel *model);
gboolean gst_partime_update_check_caps (GstPartimeFilter *self,
    GstPartimeModel *model, const GstVideoInfo *info, GError **error);
gboolean gst_partime_update_start (GstPartimeFilter *self,
    GstPartimeModel *model, GstPartimeModel *running,
    const GstVideoInfo *info, GError **error);
void gst_partime_update_note_change (GstPartimeFilter *self);
void gst_partime_update_post (GstPartimeFilter *self, const gchar *model,
    const gchar *weights, guint64 frame, const PtReplacement *what,
    const GError *error);
void gst_partime_update_refuse (GstPartimeFilter *self, const gchar *path,
    const gchar *weights, const GError *error);

/* change.c */
gboolean gst_partime_update_commit (GstPartimeFilter *self);
void gst_partime_update_resize (GstPartimeFilter *self);
GstPartimeModel *gst_partime_update_take_early (GstPartimeFilter *self);
void gst_partime_update_end_early (GstPartimeFilter *self,
    GstPartimeModel *before);
gboolean gst_partime_update_push (GstPartimeFilter *self, GstBuffer *buffer,
    PtTensor *target, PtPushFlags flags, PtFlow *flow, GError **error);

/* labels.c */
gboolean gst_partime_labels_open (GstPartimeFilter *self,
    GstPartimeModel *model);
gboolean gst_partime_labels_fit (GstPartimeFilter *self,
    GstPartimeModel *model, GError **error);
void gst_partime_labels_change (GstPartimeFilter *self,
    GstPartimeModel *model);

/* session.c */
void gst_partime_filter_install_signals (void);
gboolean gst_partime_filter_open (GstPartimeFilter *self);
gboolean gst_partime_filter_bind (GstPartimeFilter *self,
    const GstVideoInfo *info);
gboolean gst_partime_filter_start (GstPartimeFilter *self);
void gst_partime_filter_close (GstPartimeFilter *self);
void gst_partime_filter_on_event (PtPipeline *pipeline, const PtEvent *event,
    gpointer data);
void gst_partime_filter_post_error (GstPartimeFilter *self,
    const GError *error, const gchar *path);
gboolean gst_partime_filter_save (GstPartimeFilter *self,
    const gchar *location);
gboolean gst_partime_filter_load (GstPartimeFilter *self,
    const gchar *location);
gboolean gst_partime_filter_reset (GstPartimeFilter *self);
gboolean gst_partime_filter_saves (GstPartimeFilter *self);
void gst_partime_filter_save_async (GstPartimeFilter *self,
    GstPartimeModel *model, const gchar *location);
void gst_partime_filter_save_now (GstPartimeFilter *self,
    GstPartimeModel *model);

/* cuda/filter.c */
void gst_partime_filter_install_cuda (GstElementClass *klass);
void gst_partime_filter_open_cuda (GstPartimeFilter *self);
void gst_partime_filter_close_cuda (GstPartimeFilter *self);
void gst_partime_filter_share_cuda (GstPartimeFilter *self);
void gst_partime_filter_unshare_cuda (GstPartimeFilter *self);
gboolean gst_partime_filter_query_cuda (GstPartimeFilter *self,
    GstQuery *query);
GstPartimeFormat *gst_partime_filter_new_format (GstPartimeFilter *self,
    GstPartimeModel *model, const GstVideoInfo *info, gboolean cuda,
    GError **error);
gboolean gst_partime_filter_draw_cuda (GstPartimeFilter *self,
    GstPartimeModel *model, GstPartimeFormat *format, PtResult *result,
    GstBuffer *buffer);
gboolean gst_partime_filter_push (GstPartimeFilter *self, GstBuffer *buffer,
    PtTensor *target, PtPushFlags flags, PtFlow *flow, GError **error);

/* queries.c */
gboolean gst_partime_filter_sink_query (GstPad *pad, GstObject *parent,
    GstQuery *query);
gboolean gst_partime_filter_src_query (GstPad *pad, GstObject *parent,
    GstQuery *query);

/* source.c */
gboolean gst_partime_source_activate (GstPad *pad, GstObject *parent,
    GstPadMode mode, gboolean active);
void gst_partime_source_set_flushing (GstPartimeFilter *self,
    gboolean flushing);
void gst_partime_source_clear (GstPartimeFilter *self);
void gst_partime_source_forget_newest (GstPartimeFilter *self);
GstFlowReturn gst_partime_source_queue (GstPartimeFilter *self,
    const GstPartimeItem *item, gboolean wait);
GstFlowReturn gst_partime_source_deliver (GstPartimeFilter *self,
    GstPartimeModel *model, GstBuffer *buffer, GstPartimeFormat *format,
    PtResult *result, guint64 number, guint64 result_number);
GstCaps *gst_partime_source_make_caps (GstPartimeFilter *self,
    GstPartimeModel *model, const GstVideoInfo *info);
void gst_partime_source_note_caps (GstPartimeFilter *self, GstEvent *event);

/* tensors.c */
gboolean gst_partime_tensors_check (GstPartimeFilter *self,
    PtNetwork *network, GError **error);
GstCaps *gst_partime_tensors_make_caps (PtNetwork *network,
    const GstVideoInfo *info);
GstBuffer *gst_partime_tensors_replace (GstPartimeModel *model,
    PtResult *result, GstBuffer *frame);

/* score.c */
gboolean gst_partime_score_frame (GstPartimeFilter *self,
    GstPartimeModel *model, GstBuffer *buffer, GstPartimeFormat *format,
    PtResult *result, guint64 number, gdouble *score);

/* classes.c */
gboolean gst_partime_classes_open (GstPartimeFilter *self, GError **error);
gboolean gst_partime_classes_count (PtNetwork *network, guint *n,
    GError **error);
void gst_partime_classes_close (GstPartimeFilter *self);
void gst_partime_classes_attach (GstPartimeFilter *self,
    GstPartimeModel *model, GstBuffer *buffer, const GstVideoInfo *info,
    PtResult *result);

/* stats.c */
GstStructure *gst_partime_filter_new_stats (GstPartimeFilter *self,
    const gchar *name);
gboolean gst_partime_filter_open_stats (GstPartimeFilter *self);
void gst_partime_filter_post_stats (GstPartimeFilter *self, gboolean end);
void gst_partime_filter_measure (GstPartimeFilter *self,
    const PtResult *result);
gboolean gst_partime_filter_query_latency (GstPartimeFilter *self,
    GstQuery *query);
void gst_partime_filter_note_qos (GstPartimeFilter *self, GstEvent *event);
gboolean gst_partime_filter_is_late (GstPartimeFilter *self,
    GstBuffer *buffer);
void gst_partime_filter_reset_qos (GstPartimeFilter *self);

G_END_DECLS
