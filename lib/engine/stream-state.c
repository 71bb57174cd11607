/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/stream-state.h"

#include "formats/weights.h"

typedef enum
{
  STATE_SAVE,
  STATE_CHECK,
  STATE_RESTORE,
} StateAction;

/* One walk over everything, whatever is done with it. */
typedef struct
{
  PtStage *stage;
  StateAction action;
  PtTensorFile *file;
  guint64 sequence;
  guint64 n_frames;             /* since the start of the stream */
} State;

static PtTensor *
state_find (const State *self, const gchar *name, PtDType dtype,
    const PtShape *shape, GError **error)
{
  PtTensor *found = pt_tensor_file_get (self->file, name);

  if (found != NULL && found->dtype == dtype
      && pt_shape_equal (&found->shape, shape))
    return found;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "tensor %s is missing or has "
      "another shape", name);
  return NULL;
}

static gboolean
state_move (State *self, const gchar *name, PtTensor *slot, GError **error)
{
  PtDevice *device = self->stage->span->device;
  g_autoptr (PtTensor) copy = NULL;
  PtTensor *found;

  if (self->action == STATE_SAVE) {
    copy = pt_tensor_new_shaped (slot->dtype, &slot->shape, error);
    if (copy == NULL || !pt_device_download (device, copy, slot, error))
      return FALSE;
    pt_tensor_file_add (self->file, name, copy);
    return TRUE;
  }
  found = state_find (self, name, slot->dtype, &slot->shape, error);
  return found != NULL && (self->action == STATE_CHECK
      || pt_device_upload (device, slot, found, error));
}

static const gchar *
state_name_wire (const State *self, guint wire)
{
  return wire == 0 ? "input" :
      self->stage->wiring->network->nodes[wire - 1].layer->name;
}

/* Frames whose traces may still be wanted, of @n that may be. */
static guint
state_count (const State *self, guint n)
{
  return MIN (self->n_frames, n);
}

/* The gradients sent to the stage before that it has not used yet. */
static gboolean
state_move_gradients (State *self, GError **error)
{
  const PtWiring *wiring = self->stage->wiring;
  guint cut = self->stage->index;

  for (guint i = 0; cut > 0 && i < wiring->n_wires; i++) {
    const PtWire *wire = &wiring->wires[i];

    if (!pt_wiring_sends_back (wiring, i, cut))
      continue;
    for (guint k = 1; k <= state_count (self, self->stage->token_delay); k++) {
      g_autofree gchar *name = g_strdup_printf (PT_WEIGHTS_STREAM
          "gradient.%s.%u.%u", state_name_wire (self, i), cut, k);

      if (!state_move (self, name, pt_wire_get_gradient (wiring, wire, cut,
                  self->sequence - k), error))
        return FALSE;
    }
  }
  return TRUE;
}

/* Activations that this stage made, or stage 0 was given; and, coming back,
 * the copies it made. */
static gboolean
state_move_activations (State *self, GError **error)
{
  const PtWiring *wiring = self->stage->wiring;
  guint index = self->stage->index;

  for (guint i = 0; i + 1 < wiring->n_wires; i++) {
    const PtWire *wire = &wiring->wires[i];

    if (wire->producer != (gint) index && !(i == 0 && index == 0)
        && !(self->action != STATE_SAVE && wire->arrives != NULL
            && wire->arrives[index]))
      continue;
    for (guint k = 1; k <= state_count (self, self->stage->age); k++) {
      g_autofree gchar *name = g_strdup_printf (PT_WEIGHTS_STREAM
          "activation.%s.%u", state_name_wire (self, i), k);

      if (!state_move (self, name, pt_wire_get_at (wire, index,
                  self->sequence - k), error))
        return FALSE;
    }
  }
  return TRUE;
}

static gboolean
state_move_saved (State *self, GError **error)
{
  PtStage *stage = self->stage;

  for (guint n = 0; n < stage->span->n; n++) {
    const PtLayer *layer =
        stage->wiring->network->nodes[stage->span->first + n].layer;

    for (guint i = 0; i < layer->n_saved; i++) {
      for (guint k = 1; k <= state_count (self, stage->age); k++) {
        g_autofree gchar *name = g_strdup_printf (PT_WEIGHTS_STREAM
            "saved.%s.%u.%u", layer->name, i, k);

        if (!state_move (self, name, pt_stage_get_saved (stage, n,
                    self->sequence - k)[i], error))
          return FALSE;
      }
    }
  }
  return TRUE;
}

static gboolean
state_move_weight (State *self, guint parameter, guint k, GError **error)
{
  PtArena *arena = &self->stage->arena;
  const PtParameter *p = &arena->parameters[parameter];
  const PtLayer *layer = pt_arena_get_layer (arena, p);
  const PtWeight *weight = &layer->weights[p->weight];
  g_autofree gchar *name = g_strdup_printf (PT_WEIGHTS_STREAM
      "weights.%s.%s.%u", layer->name, weight->name, k);
  guint64 sequence = self->sequence - k;
  g_autoptr (PtTensor) copy = NULL;
  PtTensor *found;

  if (self->action == STATE_SAVE) {
    copy = pt_tensor_new_shaped (PT_F32, &weight->shape, error);
    if (copy == NULL || !pt_arena_export_kept (arena, parameter, sequence,
            copy, error))
      return FALSE;
    pt_tensor_file_add (self->file, name, copy);
    return TRUE;
  }
  found = state_find (self, name, PT_F32, &weight->shape, error);
  return found != NULL && (self->action == STATE_CHECK
      || pt_arena_import_kept (arena, parameter, sequence, found, error));
}

/* The weights that frames under way were run with. */
static gboolean
state_move_weights (State *self, GError **error)
{
  for (guint i = 0; i < self->stage->arena.n_parameters; i++)
    for (guint k = 1; self->stage->arena.parameters[i].learned
        && k <= state_count (self, self->stage->age); k++)
      if (!state_move_weight (self, i, k, error))
        return FALSE;
  return TRUE;
}

static gboolean
state_move_all (State *self, GError **error)
{
  return state_move_gradients (self, error)
      && (self->stage->learning->mode != PT_MODE_DELAYED
      || (state_move_activations (self, error)
          && state_move_saved (self, error)
          && state_move_weights (self, error)));
}

static gchar *
state_get_key (const PtStage *stage)
{
  return g_strdup_printf (PT_WEIGHTS_STREAM "%u", stage->index);
}

/* "frames quiet valid type rate keep type rate keep", the older token first. */
static void
state_write_tokens (const State *self)
{
  PtStage *stage = self->stage;
  g_autofree gchar *key = state_get_key (stage);
  g_autoptr (GString) text = g_string_new (NULL);
  gchar rate[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_printf (text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %d",
      self->n_frames, stage->quiet_until > self->sequence ?
      stage->quiet_until - self->sequence : 0, stage->was_valid);
  for (guint k = state_count (self, stage->token_delay); k > 0; k--) {
    const PtMessage *token =
        &stage->sent[(self->sequence - k) % PT_STAGE_MAX_DELAY];

    g_string_append_printf (text, " %d %s %d", token->type -
        PT_MESSAGE_TOKEN_NONE, g_ascii_dtostr (rate, sizeof rate, token->rate),
        token->keep);
  }
  pt_tensor_file_set_metadata (self->file, key, text->str);
}

static gboolean
state_fail_tokens (const PtStage *stage, const gchar *text, GError **error)
{
  g_autofree gchar *key = state_get_key (stage);

  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "metadata %s: found \"%s\", "
      "expected what a checkpoint of this cut says of the tokens of its stage",
      key, text != NULL ? text : "");
  return FALSE;
}

/* Puts the tokens into the queue to the stage before. */
static gboolean
state_read_tokens (State *self, GError **error)
{
  PtStage *stage = self->stage;
  g_autofree gchar *key = state_get_key (stage);
  const gchar *text = pt_tensor_file_get_metadata (self->file, key);
  g_auto (GStrv) words = g_strsplit (text != NULL ? text : "", " ", -1);
  guint n = g_strv_length (words), n_tokens;

  if (n < 3)
    return state_fail_tokens (stage, text, error);
  self->n_frames = g_ascii_strtoull (words[0], NULL, 10);
  n_tokens = state_count (self, stage->token_delay);
  if (n != 3 + 3 * n_tokens)
    return state_fail_tokens (stage, text, error);
  if (self->action == STATE_CHECK)
    return TRUE;
  stage->n_frames = self->n_frames;
  stage->quiet_until = self->sequence
      + g_ascii_strtoull (words[1], NULL, 10);
  stage->was_valid = words[2][0] == '1';
  stage->n_initial_tokens = stage->token_delay - n_tokens;
  for (guint k = n_tokens, at = 3; k > 0; k--, at += 3) {
    guint64 type = g_ascii_strtoull (words[at], NULL, 10);
    PtMessage token = { .type = PT_MESSAGE_TOKEN_NONE + MIN (type, 2),
      .sequence = self->sequence - k,
      .rate = g_ascii_strtod (words[at + 1], NULL),
      .keep = words[at + 2][0] == '1' };

    stage->sent[token.sequence % PT_STAGE_MAX_DELAY] = token;
    if (stage->tokens_out != NULL)
      pt_queue_put (stage->tokens_out, &token);
  }
  return TRUE;
}

gboolean
pt_stream_state_save (PtStage *stage, guint64 sequence, PtTensorFile *file,
    GError **error)
{
  State self = { stage, STATE_SAVE, file, sequence, stage->n_frames };

  if (stage->learning->mode == PT_MODE_OFF)
    return TRUE;
  state_write_tokens (&self);
  return state_move_all (&self, error);
}

gboolean
pt_stream_state_check (PtStage *stage, PtTensorFile *file, GError **error)
{
  State self = { stage, STATE_CHECK, file, stage->age + 1 };

  return state_read_tokens (&self, error) && state_move_all (&self, error);
}

gboolean
pt_stream_state_restore (PtStage *stage, guint64 sequence, PtTensorFile *file,
    GError **error)
{
  State self = { stage, STATE_RESTORE, file, sequence };

  return state_read_tokens (&self, error) && state_move_all (&self, error);
}

#define STATE_FRAMES PT_WEIGHTS_STREAM "frames"

gboolean
pt_stream_state_save_frames (const PtFrameMaker *maker, guint64 frame,
    PtTensorFile *file, GError **error)
{
  g_autofree gchar *text = g_strdup_printf ("%" G_GUINT64_FORMAT " %"
      G_GUINT64_FORMAT, maker->n_frames, frame);

  for (guint64 k = 1; k <= MIN (maker->n_frames, maker->n_history); k++) {
    const PtTensor *x =
        maker->history[(maker->n_frames - k) % maker->n_history];
    g_autofree gchar *name = g_strdup_printf (PT_WEIGHTS_STREAM "frame.%"
        G_GUINT64_FORMAT, k);
    g_autoptr (PtTensor) copy = pt_tensor_new_shaped (PT_F32, &x->shape,
        error);

    if (copy == NULL || !pt_device_download (maker->device, copy, x, error))
      return FALSE;
    pt_tensor_file_add (file, name, copy);
  }
  pt_tensor_file_set_metadata (file, STATE_FRAMES, text);
  return TRUE;
}

/* Changes nothing if @file has not all of it. */
gboolean
pt_stream_state_restore_frames (PtFrameMaker *maker, guint64 *frame,
    PtTensorFile *file, GError **error)
{
  const gchar *text = pt_tensor_file_get_metadata (file, STATE_FRAMES);
  State self = { .file = file };
  gchar *end = NULL;
  guint64 n;

  if (text == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "metadata " STATE_FRAMES
        " is missing");
    return FALSE;
  }
  n = g_ascii_strtoull (text, &end, 10);
  for (guint write = 0; write < 2; write++) {
    for (guint64 k = 1; k <= MIN (n, maker->n_history); k++) {
      PtTensor *x = maker->history[(n - k) % maker->n_history];
      g_autofree gchar *name = g_strdup_printf (PT_WEIGHTS_STREAM "frame.%"
          G_GUINT64_FORMAT, k);
      PtTensor *found = state_find (&self, name, PT_F32, &x->shape, error);

      if (found == NULL)
        return FALSE;
      if (write && !pt_device_upload (maker->device, x, found, error))
        return FALSE;
    }
  }
  maker->n_frames = n;
  *frame = g_ascii_strtoull (end, NULL, 10);
  return TRUE;
}
