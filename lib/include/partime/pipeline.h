/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <partime/frame.h>
#include <partime/network.h>

G_BEGIN_DECLS

typedef struct _PtPipeline PtPipeline;
typedef struct _PtResult PtResult;
typedef struct _PtStream PtStream;

/**
 * PtMode:
 * @PT_MODE_OFF: inference only
 * @PT_MODE_EXACT: plain online backpropagation, stages wait for one another
 * @PT_MODE_PARTIME: late gradients through the activations of now
 * @PT_MODE_DELAYED: late gradients through the activations of then
 *
 * How a gradient meets the activations it flows through.
 */
typedef enum
{
  PT_MODE_OFF,
  PT_MODE_EXACT,
  PT_MODE_PARTIME,
  PT_MODE_DELAYED,
} PtMode;

/**
 * PtLearnPolicy:
 * @PT_LEARN_EVERY: every frame that may learn does
 * @PT_LEARN_WHEN_IDLE: a frame learns only if the stages keep up
 */
typedef enum
{
  PT_LEARN_EVERY,
  PT_LEARN_WHEN_IDLE,
} PtLearnPolicy;

/**
 * PtFlow:
 * @PT_FLOW_OK: done
 * @PT_FLOW_FULL: nothing done: there was no room, and %PT_PUSH_TRY was given
 * @PT_FLOW_FLUSHING: nothing done: the pipeline is flushing or stopped
 * @PT_FLOW_DRAINED: every frame before the drain has come out
 * @PT_FLOW_ERROR: a stage failed; the #GError says how
 * @PT_FLOW_REPLACED: nothing done: another pipeline has taken over from that of
 *   the stream, see pt_stream_replace()
 */
typedef enum
{
  PT_FLOW_OK,
  PT_FLOW_FULL,
  PT_FLOW_FLUSHING,
  PT_FLOW_DRAINED,
  PT_FLOW_ERROR,
  PT_FLOW_REPLACED,
} PtFlow;

/**
 * PtPushFlags:
 * @PT_PUSH_NONE: wait for room, learn if the settings say so
 * @PT_PUSH_NO_LEARN: this frame infers only
 * @PT_PUSH_TRY: return %PT_FLOW_FULL instead of waiting
 */
typedef enum
{
  PT_PUSH_NONE = 0,
  PT_PUSH_NO_LEARN = 1 << 0,
  PT_PUSH_TRY = 1 << 1,
} PtPushFlags;

#define PT_MAX_MEASURES 4
#define PT_MEASURE_WINDOW 100

/**
 * PtMeasure:
 * @name: (transfer none): "loss"; for cross-entropy "accuracy" (of classes, or
 *   of pixels) and over pixels "miou" (mean intersection over union of the
 *   classes there are); for bce and focal "accuracy" and "iou" (of what is
 *   there, at probability 0.5); for pictures "psnr" (peak 1, with mean and std
 *   undone; at most 100), with target=next also "psnr-repeat", that of the
 *   frame before in place of the prediction; for flow given as labels "epe",
 *   mean length of the error
 * @unit: (transfer none): "dB", "px", or "" for a plain number
 * @higher_is_better: what is worth striving for
 * @newest: of the newest measured frame; NaN without one
 * @recent: over the last %PT_MEASURE_WINDOW measured frames
 * @total: over all measured frames since start
 *
 * How good the network is at frames that it has not learned from yet. Of
 * several frames it is what it would be of one frame made of all of them: psnr
 * is that of the mean squared error. Frames without a target, or whose output
 * is not finite, are not measured.
 */
typedef struct
{
  const gchar *name;
  const gchar *unit;
  gboolean higher_is_better;
  gdouble newest;
  gdouble recent;
  gdouble total;
} PtMeasure;

/**
 * PtResult:
 * @frame: which frame since start or flush, from 0
 * @output: (transfer none): the network's main output, float32 row-major NCHW
 * @valid: whether every element of @output is finite; when it is not,
 *   @outputs are filled with zeros
 * @learned: whether the frame was one to learn from
 * @loss: the loss on this frame, NaN if it was not computed
 * @weights_version: updates the last stage had applied when it ran the frame
 * @latency: ns from the push of the frame until its result was ready
 * @measures: the frame's values of the measures that #PtPipelineStats names,
 *   in that order, taken before anything was learned from it; NaN where it has
 *   none
 * @n_outputs: how many outputs the network has, at least 1
 * @outputs: (array length=n_outputs) (transfer none): all of them, as @output,
 *   which is the first; of the others nobody looks whether they are finite
 * @output_names: (array length=n_outputs) (transfer none): what they are called,
 *   see pt_network_get_output_name()
 *
 * What came out for one frame.
 */
struct _PtResult
{
  guint64 frame;
  PtTensor *output;
  gboolean valid;
  gboolean learned;
  gdouble loss;
  guint64 weights_version;
  guint64 latency;
  gdouble measures[PT_MAX_MEASURES];
  guint n_outputs;
  PtTensor **outputs;
  const gchar *const *output_names;
};

/**
 * PtTargetInfo:
 * @loss: (transfer none): name of the loss
 * @teacher: whether the file says target=teacher
 * @dtype: %PT_F32, or %PT_I32 for classes
 * @shape: the output's, or for classes (1) or (1, H, W)
 * @n_classes: classes are 0 to @n_classes - 1; 0 for %PT_F32
 * @ignore_index: class of what is not to be learned from
 *
 * What pt_pipeline_push() takes as target.
 */
typedef struct
{
  const gchar *loss;
  gboolean teacher;
  PtDType dtype;
  PtShape shape;
  gint n_classes;
  gint ignore_index;
} PtTargetInfo;

/**
 * PtPipelineStats:
 * @frames: frames that came out since start
 * @learned: of them, frames that learned
 * @skipped: frames that would have learned but for the policy
 * @updates: updates of the last stage
 * @rollbacks: times the last good weights were put back
 * @fps: frames per second over about the last second
 * @loss: loss of the newest frame that had a target, NaN before the first
 * @mean_loss: its running mean over about 100 such frames
 * @latency: ns, running mean from push to result
 * @max_latency: ns, the largest since start
 * @in_flight: frames inside now
 * @n_stages: how many stages there are
 * @n_measures: how many measures there are; 0 before start or in mode off
 * @measures: what the frames with a target are measured by
 */
typedef struct
{
  guint64 frames;
  guint64 learned;
  guint64 skipped;
  guint64 updates;
  guint64 rollbacks;
  gdouble fps;
  gdouble loss;
  gdouble mean_loss;
  guint64 latency;
  guint64 max_latency;
  guint in_flight;
  guint n_stages;
  guint n_measures;
  PtMeasure measures[PT_MAX_MEASURES];
} PtPipelineStats;

/**
 * PtStageStats:
 * @device: (transfer none): name of the device
 * @first_layer: index of the stage's first layer in the file
 * @n_layers: how many layers the stage has
 * @n_threads: threads it computes with
 * @age: frames by which its gradient is old
 * @updates: updates applied to its weights since start
 * @dropped: gradients left out since start, because the loss or they
 *   themselves were not finite, or weights had just been put back
 * @learning_rate: the rate of its last update, staleness and warm-up included
 * @forward: ns, running mean of the forward pass; where frames are handed to a
 *   GPU in advance, this and the next two are its own time, of every fourth
 * @backward: ns, running mean of the backward pass without the update
 * @update: ns, running mean of the optimizer's pass
 * @memory: bytes it holds on the device
 */
typedef struct
{
  const gchar *device;
  guint first_layer;
  guint n_layers;
  guint n_threads;
  guint age;
  guint64 updates;
  guint64 dropped;
  gdouble learning_rate;
  guint64 forward;
  guint64 backward;
  guint64 update;
  guint64 memory;
} PtStageStats;

/**
 * PtReplacement:
 * @frame: the first frame of the new network, since start or flush
 * @same_parameters: whether the new network has the parameters of the old one:
 *   their names and shapes
 * @kept_weights: the weights went on as they were, because the new network
 *   came without and has the same parameters; so did the counts of frames
 * @kept_optimizer: so did what the optimizer remembers, its schedule, all
 *   counters, and what was measured
 *
 * What pt_pipeline_replace() did.
 */
typedef struct
{
  guint64 frame;
  gboolean same_parameters;
  gboolean kept_weights;
  gboolean kept_optimizer;
} PtReplacement;

/**
 * PtEventType:
 * @PT_EVENT_CHECKPOINT: a checkpoint was written, or failed
 * @PT_EVENT_DIVERGED: the output or loss was not finite, or the mean loss far
 *   above its best; the last good weights and optimizer state were put back,
 *   and the learning rate is smaller from here on
 * @PT_EVENT_ERROR: a stage failed, nothing more will come out
 */
typedef enum
{
  PT_EVENT_CHECKPOINT,
  PT_EVENT_DIVERGED,
  PT_EVENT_ERROR,
} PtEventType;

/**
 * PtEvent:
 * @type: what happened
 * @frame: the frame at which it happened
 * @path: (nullable): the checkpoint's file
 * @error: (nullable): why it failed
 * @loss: diverged: the mean loss, NaN if that was not why
 * @best: diverged: the best mean loss before, NaN if there was none
 * @rate_scale: diverged: what learning rates are multiplied by from here on
 */
typedef struct
{
  PtEventType type;
  guint64 frame;
  const gchar *path;
  const GError *error;
  gdouble loss, best, rate_scale;
} PtEvent;

/**
 * PtEventFunc:
 * @pipeline: the pipeline
 * @event: what happened; lent for the call
 * @data: as given to pt_pipeline_set_event_func()
 *
 * Called from the library's own threads; must not block and must not call
 * back into @pipeline, except for pt_pipeline_get_stats().
 */
typedef void (*PtEventFunc) (PtPipeline *pipeline, const PtEvent *event,
    gpointer data);

#define PT_TYPE_PIPELINE (pt_pipeline_get_type ())
#define PT_TYPE_RESULT (pt_result_get_type ())

PT_API GType pt_pipeline_get_type (void);
PT_API PtPipeline *pt_pipeline_new (PtNetwork *network, GError **error);
PT_API PtPipeline *pt_pipeline_ref (PtPipeline *self);
PT_API void pt_pipeline_unref (PtPipeline *self);
PT_API void pt_pipeline_set_event_func (PtPipeline *self, PtEventFunc func,
    gpointer data);
PT_API void pt_pipeline_set_target_fps (PtPipeline *self, gdouble fps);

PT_API gboolean pt_pipeline_start (PtPipeline *self, GError **error);
PT_API gboolean pt_pipeline_start_beside (PtPipeline *self,
    PtPipeline *running, GError **error);
PT_API void pt_pipeline_keep_weights (PtPipeline *self);
PT_API gboolean pt_pipeline_replace (PtPipeline *self, PtPipeline *next,
    PtReplacement *info, GError **error);
PT_API void pt_pipeline_stop (PtPipeline *self);
PT_API PtFlow pt_pipeline_push_pixels (PtPipeline *self, const guint8 *pixels,
    gsize stride, PtTensor *target, PtPushFlags flags, GError **error);
PT_API PtFlow pt_pipeline_push (PtPipeline *self, PtTensor *frame,
    PtTensor *target, PtPushFlags flags, GError **error);
PT_API PtFlow pt_pipeline_pull (PtPipeline *self, PtResult **result,
    GError **error);
PT_API PtFlow pt_pipeline_drain (PtPipeline *self, GError **error);
PT_API void pt_pipeline_set_flushing (PtPipeline *self, gboolean flushing);

PT_API void pt_pipeline_set_learn (PtPipeline *self, gboolean learn);
PT_API void pt_pipeline_set_learning_rate (PtPipeline *self, gdouble rate);
PT_API void pt_pipeline_set_learn_interval (PtPipeline *self, guint interval);
PT_API void pt_pipeline_set_learn_policy (PtPipeline *self,
    PtLearnPolicy policy);

PT_API void pt_pipeline_set_checkpoint_keep (PtPipeline *self, guint keep);
PT_API gboolean pt_pipeline_save (PtPipeline *self, const gchar *path,
    GError **error);
PT_API void pt_pipeline_save_async (PtPipeline *self, const gchar *path);
PT_API gboolean pt_pipeline_load (PtPipeline *self, const gchar *path,
    GError **error);
PT_API gboolean pt_pipeline_resume (PtPipeline *self, const gchar *path,
    gboolean *whole, GError **error);
PT_API gboolean pt_pipeline_set_weights (PtPipeline *self, const gchar *path,
    guint64 *frame, GError **error);
PT_API gboolean pt_pipeline_reset (PtPipeline *self, GError **error);

PT_API PtMode pt_pipeline_get_mode (PtPipeline *self);
PT_API gboolean pt_pipeline_get_target_info (PtPipeline *self,
    PtTargetInfo *info);
PT_API PtFlow pt_pipeline_push_frame (PtPipeline *self, const PtFrame *frame,
    const PtFrameView *view, PtTensor *target, PtPushFlags flags,
    GError **error);
PT_API void pt_pipeline_set_frame_device (PtPipeline *self, PtDevice *device);
PT_API gboolean pt_pipeline_takes_frames (PtPipeline *self, PtDevice *device);
PT_API void pt_pipeline_wait_frames (PtPipeline *self);
PT_API void pt_pipeline_get_stats (PtPipeline *self, PtPipelineStats *stats);
PT_API void pt_pipeline_get_stage_stats (PtPipeline *self, guint stage,
    PtStageStats *stats);

PT_API gdouble pt_pipeline_measure (PtPipeline *self, GError **error);
PT_API PtStream *pt_stream_new (PtPipeline *pipeline, GError **error);
PT_API void pt_stream_free (PtStream *self);
PT_API PtStream *pt_stream_replace (PtStream *self, PtPipeline *next,
    const PtReplacement *info, GError **error);
PT_API PtFlow pt_stream_push_pixels (PtStream *self, const guint8 *pixels,
    gsize stride, PtTensor *target, PtPushFlags flags, GError **error);
PT_API PtFlow pt_stream_pull (PtStream *self, PtResult **result,
    GError **error);
PT_API PtFlow pt_stream_drain (PtStream *self, GError **error);
PT_API void pt_stream_set_flushing (PtStream *self, gboolean flushing);
PT_API void pt_stream_set_learn (PtStream *self, gboolean learn);
PT_API void pt_stream_set_learn_interval (PtStream *self, guint interval);
PT_API void pt_stream_set_learn_policy (PtStream *self, PtLearnPolicy policy);
PT_API void pt_stream_get_stats (PtStream *self, PtPipelineStats *stats);

PT_API gchar *pt_pipeline_describe_schedules (void);

PT_API GType pt_result_get_type (void);
PT_API PtResult *pt_result_ref (PtResult *self);
PT_API void pt_result_unref (PtResult *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtPipeline, pt_pipeline_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtResult, pt_result_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtStream, pt_stream_free)

G_END_DECLS
