/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/vec.h"

/* The formulas of torch.optim 1.13, one pass over the arena each. */

namespace
{

/* What the formulas are made of in this frame. */
struct Numbers
{
  gfloat scale, rate, momentum, decay, eps, shrink;
  gfloat a, b, c, d;            /* betas or alpha, and one minus them */
  gfloat step, root;            /* Adam's bias corrections */
  gboolean go;
};

/* The powers, in double and by one thread. */
struct Prepare
{
  PtUpdateDesc desc;
  const PtLive *live;
  PtLive own;
  Numbers *to;

  PT_HD void sgd (const PtLive &now, Numbers *n) const
  {
    /* The first buffer is the gradient itself, without dampening. */
    n->d = now.step <= 1 ? 1. : 1. - desc.dampening;
    if (now.step <= 1)
      n->momentum = 0;
    n->a = desc.nesterov ? desc.momentum : 1.;
    n->c = desc.nesterov ? 1. : 0.;
  }

  PT_HD void adam (const PtLive &now, Numbers *n) const
  {
    n->a = desc.beta1;
    n->b = 1. - desc.beta1;
    n->c = desc.beta2;
    n->d = 1. - desc.beta2;
    n->step = now.rate / (1. - pow (desc.beta1, (gdouble) now.step));
    n->root = 1. / sqrt (1. - pow (desc.beta2, (gdouble) now.step));
    if (desc.kind == PT_UPDATE_ADAMW) {
      n->shrink = 1. - now.rate * desc.weight_decay;
      n->decay = 0;
    }
  }

  PT_HD void adagrad (const PtLive &now, Numbers *n) const
  {
    n->a = now.step <= 1 ? desc.initial : 0;
    n->rate = now.rate / (1. + (now.step - 1.) * desc.lr_decay);
  }

  PT_HD void operator() (guint i) const
  {
    PtLive now = live != NULL ? *live : own;
    Numbers n = { };

    n.go = now.go != 0;
    n.scale = now.scale;
    n.rate = now.rate;
    n.momentum = desc.momentum;
    n.decay = desc.weight_decay;
    n.eps = desc.eps;
    n.shrink = 1;
    if (desc.kind == PT_UPDATE_SGD) {
      sgd (now, &n);
    } else if (desc.kind == PT_UPDATE_RMSPROP) {
      n.a = desc.alpha;
      n.b = 1. - desc.alpha;
    } else if (desc.kind == PT_UPDATE_ADAGRAD) {
      adagrad (now, &n);
    } else {
      adam (now, &n);
    }
    *to = n;
  }
};

/* The rules: the new w and slots of one weight. */

template < bool momentum > struct Sgd
{
  static const gint n_slots = momentum ? 1 : 0;

  static PT_HD void apply (const Numbers &n, gfloat *w, gfloat g, gfloat *s)
  {
    gfloat v = n.scale * g + n.decay * *w;

    if (momentum) {
      s[0] = n.momentum * s[0] + n.d * v;
      v = n.c * v + n.a * s[0];
    }
    *w -= n.rate * v;
  }
};

template < bool momentum, bool centered > struct RmsProp
{
  static const gint n_slots = 1 + momentum + centered;

  static PT_HD void apply (const Numbers &n, gfloat *w, gfloat g, gfloat *s)
  {
    gfloat v = n.scale * g + n.decay * *w, square, u;

    square = s[0] = n.a * s[0] + n.b * v * v;
    if (centered) {
      gfloat *mean = &s[1 + momentum];

      *mean = n.a * *mean + n.b * v;
      square -= *mean * *mean;
    }
    u = v / (sqrtf (square) + n.eps);
    if (momentum)
      u = s[1] = u + n.momentum * s[1];
    *w -= n.rate * u;
  }
};

template < bool amsgrad > struct Adam
{
  static const gint n_slots = amsgrad ? 3 : 2;

  static PT_HD void apply (const Numbers &n, gfloat *w, gfloat g, gfloat *s)
  {
    gfloat p = *w * n.shrink, v = n.scale * g + n.decay * p, square;

    s[0] = n.a * s[0] + n.b * v;
    square = s[1] = n.c * s[1] + n.d * v * v;
    if (amsgrad)
      square = s[2] = s[2] > square ? s[2] : square;
    *w = p - n.step * s[0] / (sqrtf (square) * n.root + n.eps);
  }
};

struct Adagrad
{
  static const gint n_slots = 1;

  static PT_HD void apply (const Numbers &n, gfloat *w, gfloat g, gfloat *s)
  {
    gfloat v = n.scale * g + n.decay * *w;

    s[0] = s[0] + n.a + v * v;
    *w -= n.rate * v / (sqrtf (s[0]) + n.eps);
  }
};

template < typename Rule, int N > struct Update
{
  const Numbers *numbers;
  PtVec < N > *w;
  const PtVec < N > *g;
  PtVec < N > *slots[PT_UPDATE_MAX_SLOTS];

  PT_HD void operator() (guint i) const
  {
    PtVec < N > x, y, s[PT_UPDATE_MAX_SLOTS];

    if (!numbers->go)
      return;
    x = w[i];
    y = g[i];
    for (gint k = 0; k < Rule::n_slots; k++)
      s[k] = slots[k][i];
    for (gint j = 0; j < N; j++) {
      gfloat one[PT_UPDATE_MAX_SLOTS];

      for (gint k = 0; k < Rule::n_slots; k++)
        one[k] = s[k].v[j];
      Rule::apply (*numbers, &x.v[j], y.v[j], one);
      for (gint k = 0; k < Rule::n_slots; k++)
        s[k].v[j] = one[k];
    }
    w[i] = x;
    for (gint k = 0; k < Rule::n_slots; k++)
      slots[k][i] = s[k];
  }
};

template < typename Rule > gboolean
update_launch (const PtCudaLaunch *launch, const PtOpArgs *args,
    GError **error)
{
  gint64 n = args->update_w->size / sizeof (gfloat);

  return pt_cuda_vec (n,[&] < int N > () {
        Update < Rule, N > job = { (const Numbers *) launch->scratch,
          pt_data < PtVec < N > > (args->update_w),
          pt_data < PtVec < N > > (args->dw) };

        for (guint k = 0; k < PT_UPDATE_MAX_SLOTS; k++)
          job.slots[k] = pt_data < PtVec < N > > (args->slots[k]);
        return pt_cuda_each (launch, n / N, job, error);
      });
}

gboolean
update_launch_rmsprop (const PtCudaLaunch *launch, const PtUpdateDesc *d,
    const PtOpArgs *args, GError **error)
{
  if (d->momentum > 0 && d->centered)
    return update_launch < RmsProp < true, true > > (launch, args, error);
  if (d->momentum > 0)
    return update_launch < RmsProp < true, false > > (launch, args, error);
  if (d->centered)
    return update_launch < RmsProp < false, true > > (launch, args, error);
  return update_launch < RmsProp < false, false > > (launch, args, error);
}

}                               // namespace

static gboolean
update_plan (PtOp *op, GError **error)
{
  op->scratch_size = sizeof (Numbers);
  return TRUE;
}

static gboolean
update_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtUpdateDesc *d = &op->desc.update;
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error)
      || !pt_cuda_each (&launch, 1, Prepare { *d, args->live,
          pt_cuda_live (args), (Numbers *) launch.scratch }, error))
    return FALSE;
  if (d->kind == PT_UPDATE_RMSPROP)
    return update_launch_rmsprop (&launch, d, args, error);
  if (d->kind == PT_UPDATE_SGD)
    return d->momentum > 0 ?
        update_launch < Sgd < true > > (&launch, args, error) :
        update_launch < Sgd < false > > (&launch, args, error);
  if (d->kind == PT_UPDATE_ADAGRAD)
    return update_launch < Adagrad > (&launch, args, error);
  return d->amsgrad ? update_launch < Adam < true > > (&launch, args, error) :
      update_launch < Adam < false > > (&launch, args, error);
}

const PtOpImpl pt_cuda_update = {
  .plan = update_plan,
  .run = update_run,
};
