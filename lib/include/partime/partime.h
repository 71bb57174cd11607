/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <partime/error.h>
#include <partime/tensor.h>
#include <partime/device.h>
#include <partime/frame.h>
#include <partime/loss.h>
#include <partime/optimizer.h>
#include <partime/network.h>
#include <partime/pipeline.h>
