/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/plan.h"

/* The device "planned": an emulated GPU whose convolutions and linear layers
 * are those of lib/device/cuda, with loops in the place of cuDNN. */
typedef struct
{
  gboolean none;                /* there is no plan, for anything */
  guint n_plans, n_runs;
} FakePlan;

extern FakePlan fake_plan;

/* The float that is the nearest of 16 bits, as bits and back. */
guint16 fake_narrow (PtPrecision precision, gdouble x);
gdouble fake_widen (PtPrecision precision, guint16 bits);
