/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

/* The formulas of torch.optim 1.13, one pass over the arena each. */

typedef struct
{
  const PtUpdateDesc *desc;
  gfloat *w;
  const gfloat *g;
  gfloat *s[PT_UPDATE_MAX_SLOTS];
  gfloat scale, rate, momentum, decay, eps, shrink;
  gfloat a, b, c, d;            /* betas or alpha, and one minus them */
  gfloat step, root;            /* Adam's bias corrections */
} UpdateJob;

static PT_CLONES void
update_sgd (gconstpointer data, gint64 begin, gint64 end)
{
  const UpdateJob j = *(const UpdateJob *) data;
  const gfloat *g = j.g;
  gfloat *w = j.w, *m = j.s[0];

  if (m == NULL) {
#pragma omp simd
    for (gint64 i = begin; i < end; i++)
      w[i] -= j.rate * (j.scale * g[i] + j.decay * w[i]);
    return;
  }
#pragma omp simd
  for (gint64 i = begin; i < end; i++) {
    gfloat v = j.scale * g[i] + j.decay * w[i];
    gfloat n = j.momentum * m[i] + j.d * v;

    m[i] = n;
    w[i] -= j.rate * (j.c * v + j.a * n);
  }
}

PT_INLINE void
update_rmsprop_any (const UpdateJob *job, gint64 begin, gint64 end,
    gboolean momentum, gboolean centered)
{
  const UpdateJob j = *job;
  const gfloat *g = j.g;
  gfloat *w = j.w, *q = j.s[0], *m = j.s[1];
  gfloat *h = momentum ? j.s[2] : j.s[1];

#pragma omp simd
  for (gint64 i = begin; i < end; i++) {
    gfloat v = j.scale * g[i] + j.decay * w[i];
    gfloat s = j.a * q[i] + j.b * v * v, u;

    q[i] = s;
    if (centered) {
      gfloat n = j.a * h[i] + j.b * v;

      h[i] = n;
      s -= n * n;
    }
    u = v / (sqrtf (s) + j.eps);
    if (momentum) {
      u += j.momentum * m[i];
      m[i] = u;
    }
    w[i] -= j.rate * u;
  }
}

static PT_CLONES void
update_rmsprop (gconstpointer data, gint64 begin, gint64 end)
{
  const UpdateJob *j = data;

  if (j->momentum > 0 && j->desc->centered)
    update_rmsprop_any (j, begin, end, TRUE, TRUE);
  else if (j->momentum > 0)
    update_rmsprop_any (j, begin, end, TRUE, FALSE);
  else if (j->desc->centered)
    update_rmsprop_any (j, begin, end, FALSE, TRUE);
  else
    update_rmsprop_any (j, begin, end, FALSE, FALSE);
}

PT_INLINE void
update_adam_any (const UpdateJob *job, gint64 begin, gint64 end,
    gboolean amsgrad)
{
  const UpdateJob j = *job;
  const gfloat *g = j.g;
  gfloat *w = j.w, *m = j.s[0], *q = j.s[1], *top = j.s[2];

#pragma omp simd
  for (gint64 i = begin; i < end; i++) {
    gfloat p = w[i] * j.shrink;
    gfloat v = j.scale * g[i] + j.decay * p;
    gfloat n = j.a * m[i] + j.b * v;
    gfloat s = j.c * q[i] + j.d * v * v;

    m[i] = n;
    q[i] = s;
    if (amsgrad) {
      s = top[i] > s ? top[i] : s;
      top[i] = s;
    }
    w[i] = p - j.step * n / (sqrtf (s) * j.root + j.eps);
  }
}

static PT_CLONES void
update_adam (gconstpointer data, gint64 begin, gint64 end)
{
  const UpdateJob *j = data;

  if (j->desc->amsgrad)
    update_adam_any (j, begin, end, TRUE);
  else
    update_adam_any (j, begin, end, FALSE);
}

static PT_CLONES void
update_adagrad (gconstpointer data, gint64 begin, gint64 end)
{
  const UpdateJob j = *(const UpdateJob *) data;
  const gfloat *g = j.g;
  gfloat *w = j.w, *q = j.s[0];

#pragma omp simd
  for (gint64 i = begin; i < end; i++) {
    gfloat v = j.scale * g[i] + j.decay * w[i];
    gfloat s = q[i] + j.a + v * v;

    q[i] = s;
    w[i] -= j.rate * v / (sqrtf (s) + j.eps);
  }
}

static void
update_prepare_sgd (UpdateJob *j, const PtUpdateDesc *d, guint64 step)
{
  if (d->momentum == 0)
    j->s[0] = NULL;
  /* The first buffer is the gradient itself, without dampening. */
  j->d = step <= 1 ? 1. : 1. - d->dampening;
  if (step <= 1)
    j->momentum = 0;
  j->a = d->nesterov ? d->momentum : 1.;
  j->c = d->nesterov ? 1. : 0.;
}

static void
update_prepare_adam (UpdateJob *j, const PtUpdateDesc *d,
    const PtLive *now)
{
  j->a = d->beta1;
  j->b = 1. - d->beta1;
  j->c = d->beta2;
  j->d = 1. - d->beta2;
  j->step = now->rate / (1. - pow (d->beta1, now->step));
  j->root = 1. / sqrt (1. - pow (d->beta2, now->step));
  if (d->kind == PT_UPDATE_ADAMW) {
    j->shrink = 1. - now->rate * d->weight_decay;
    j->decay = 0;
  }
}

static void
update_prepare_adagrad (UpdateJob *j, const PtUpdateDesc *d,
    const PtLive *now)
{
  j->a = now->step <= 1 ? d->initial : 0;
  j->rate = now->rate / (1. + (now->step - 1.) * d->lr_decay);
}

static gboolean
update_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  static const PtRangeFunc funcs[] = {
    [PT_UPDATE_SGD] = update_sgd,
    [PT_UPDATE_RMSPROP] = update_rmsprop,
    [PT_UPDATE_ADAM] = update_adam,
    [PT_UPDATE_ADAMW] = update_adam,
    [PT_UPDATE_ADAGRAD] = update_adagrad,
  };
  const PtUpdateDesc *d = &op->desc.update;
  UpdateJob j = { d, args->update_w->data, args->dw->data };
  const PtLive now = pt_cpu_live (args);

  if (!now.go)
    return TRUE;
  for (guint i = 0; i < PT_UPDATE_MAX_SLOTS; i++)
    j.s[i] = args->slots[i] ? args->slots[i]->data : NULL;
  j.scale = now.scale;
  j.rate = now.rate;
  j.momentum = d->momentum;
  j.decay = d->weight_decay;
  j.eps = d->eps;
  j.shrink = 1;
  if (d->kind == PT_UPDATE_SGD) {
    update_prepare_sgd (&j, d, now.step);
  } else if (d->kind == PT_UPDATE_RMSPROP) {
    j.a = d->alpha;
    j.b = 1. - d->alpha;
  } else if (d->kind == PT_UPDATE_ADAGRAD) {
    update_prepare_adagrad (&j, d, &now);
  } else {
    update_prepare_adam (&j, d, &now);
  }
  pt_cpu_for (op, args->update_w->size / sizeof (gfloat), 2, funcs[d->kind],
      &j);
  return TRUE;
}

const PtOpImpl pt_cpu_update = {
  .plan = pt_cpu_plan_nothing,
  .run = update_run,
};
