/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The element from the inside. gstpartimefilter.c: pads and states;
 * properties.c: settings; session.c: network and pipeline from open to close;
 * source.c: the source task and what it sends on; score.c: frames compared
 * with their results; queries.c: what pads answer; labels.c: what frames learn
 * from; classes.c: classes found; cuda/filter.c: frames in CUDA memory;
 * stats.c: what is measured. */

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
  guint checkpoint_keep;
  gboolean resume_stream;
} GstPartimeSettings;

/* What waits for its turn at the source pad. */
typedef enum
{
  GST_PARTIME_FRAME,            /* a result is to be pulled for it */
  GST_PARTIME_EVENT,
  GST_PARTIME_QUERY,            /* somebody waits until it is answered */
} GstPartimeItemKind;

typedef struct
{
  GstPartimeItemKind kind;
  gpointer object;              /* GstBuffer, GstEvent or GstQuery; with
                                 * timing=latest no buffer */
  GstPartimeFormat *format;     /* of the buffer */
  guint64 number;               /* of the frame, since start or flush */
  GstClockTime pts;             /* of the frame */
} GstPartimeItem;

struct _GstPartimeFilter
{
  GstElement parent;
  GstPad *sinkpad, *srcpad;
  GstPartimeCuda *cuda;         /* NULL: no frames in CUDA memory */
  GstPartimeSettings settings;

  /* From READY to PAUSED and back; both pointers change under the object
   * lock. */
  PtNetwork *network;
  PtPipeline *pipeline;
  GstPartimeOutput output;
  GstPartimeTiming timing;
  gchar *checkpoint;
  gboolean resume;              /* the checkpoint was there at the start */
  GstPartimeDrawing *drawing;   /* NULL: nothing can be drawn */
  guint n_classes;              /* 0: the output is not classes */
  gchar **labels;
  guint n_labels;
  GstCaps *tensor_caps;
  GstStructure *tensor_info;
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
  gboolean flushing;
  GstFlowReturn flow;           /* of the source pad */
  gboolean eos;                 /* the end is in the queue */
  GstQueueArray *queue;         /* GstPartimeItem */
  guint64 n_queued, n_done;     /* items ever; who waits compares */
  gboolean in_hand;             /* the task is at an item */
  gboolean query_result;
  PtResult *newest;             /* timing=latest */
  guint64 newest_number;
  GstPartimeLabels targets;

  /* Source side: the task, or with timing=latest the sink's thread. */
  GstBufferPool *pool;          /* output=network */
  GstVideoInfo picture_info;
  gboolean need_pool;           /* downstream is to be asked again */
  GstBuffer *last_picture;
  GstPartimeFormat *score_format;       /* [output] kind=error */
  GstPartimeCudaPainter *painter;       /* of @painted, in CUDA memory */
  GstVideoInfo painted;
  gint64 last_save, first_stats, last_stats;    /* us */
  gint saving;                  /* atomic: checkpoints under way */
  GstPartimeStatsFile *stats_file;      /* NULL: none asked for */
  gboolean stats_file_failed;   /* the last line could not be written */
  GstClockTime result_pts;      /* of the newest result's frame */

  /* Under the object lock. */
  gboolean live;
  GstClockTime frame_duration;
  gdouble latency_mean, latency_spread; /* ns, smoothed; below 0: unknown */
  GstClockTime latency;         /* as last reported */
  gint64 latency_changed;       /* us */
  guint64 dropped;              /* by QoS */
  gdouble proportion;
  GstClockTime earliest;        /* running time, by downstream's QoS */
};

/* properties.c */
void gst_partime_filter_install_properties (GObjectClass *klass);
void gst_partime_settings_init (GstPartimeSettings *self);
void gst_partime_settings_clear (GstPartimeSettings *self);

/* settings.c */
gchar **gst_partime_filter_list_settings (GstPartimeFilter *self);
gboolean gst_partime_filter_apply_settings (GstPartimeFilter *self,
    PtNetwork *network, GError **error);
void gst_partime_filter_apply_live (GstPartimeFilter *self,
    PtNetwork *network, PtPipeline *pipeline);

/* session.c */
gboolean gst_partime_filter_open (GstPartimeFilter *self);
gboolean gst_partime_filter_start (GstPartimeFilter *self);
void gst_partime_filter_close (GstPartimeFilter *self);
PtPipeline *gst_partime_filter_ref_pipeline (GstPartimeFilter *self,
    PtNetwork **network);
void gst_partime_filter_post_error (GstPartimeFilter *self,
    const GError *error, const gchar *path);
gboolean gst_partime_filter_save (GstPartimeFilter *self,
    const gchar *location);
gboolean gst_partime_filter_load (GstPartimeFilter *self,
    const gchar *location);
gboolean gst_partime_filter_reset (GstPartimeFilter *self);
gboolean gst_partime_filter_saves (GstPartimeFilter *self);
void gst_partime_filter_save_now (GstPartimeFilter *self);

/* cuda/filter.c */
void gst_partime_filter_install_cuda (GstElementClass *klass);
void gst_partime_filter_open_cuda (GstPartimeFilter *self);
void gst_partime_filter_close_cuda (GstPartimeFilter *self);
void gst_partime_filter_share_cuda (GstPartimeFilter *self);
void gst_partime_filter_unshare_cuda (GstPartimeFilter *self);
gboolean gst_partime_filter_query_cuda (GstPartimeFilter *self,
    GstQuery *query);
GstPartimeFormat *gst_partime_filter_new_format (GstPartimeFilter *self,
    const GstVideoInfo *info, gboolean cuda, GError **error);
gboolean gst_partime_filter_draw_cuda (GstPartimeFilter *self,
    GstPartimeFormat *format, PtResult *result, GstBuffer *buffer);
void gst_partime_filter_clear_painter (GstPartimeFilter *self);
gboolean gst_partime_filter_push (GstPartimeFilter *self, GstBuffer *buffer,
    PtTensor *target, PtPushFlags flags, PtFlow *flow, GError **error);
void gst_partime_filter_wait_cuda (GstPartimeFilter *self);

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
GstFlowReturn gst_partime_source_queue (GstPartimeFilter *self,
    const GstPartimeItem *item, gboolean wait);
GstFlowReturn gst_partime_source_deliver (GstPartimeFilter *self,
    GstBuffer *buffer, GstPartimeFormat *format, PtResult *result,
    guint64 number, guint64 result_number);
GstCaps *gst_partime_source_make_caps (GstPartimeFilter *self,
    const GstVideoInfo *info);

/* score.c */
gboolean gst_partime_score_frame (GstPartimeFilter *self, GstBuffer *buffer,
    GstPartimeFormat *format, PtResult *result, guint64 number,
    gdouble *score);

/* classes.c */
gboolean gst_partime_classes_open (GstPartimeFilter *self,
    PtNetwork *network, GError **error);
void gst_partime_classes_close (GstPartimeFilter *self);
void gst_partime_classes_attach (GstPartimeFilter *self, GstBuffer *buffer,
    const GstVideoInfo *info, PtResult *result);

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
