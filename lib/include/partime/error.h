/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

#ifndef PT_API
#define PT_API __attribute__ ((visibility ("default")))
#endif

G_BEGIN_DECLS

#define PT_ERROR (pt_error_quark ())

/**
 * PtError:
 * @PT_ERROR_CONFIG: a text or option: unknown key, unknown kind, bad value
 * @PT_ERROR_SHAPE: shapes that do not fit together
 * @PT_ERROR_UNSUPPORTED: an operation or type this build or device lacks
 * @PT_ERROR_FILE: a file that is missing, unreadable, truncated or lying
 * @PT_ERROR_DEVICE: a device that is not there or failed
 * @PT_ERROR_TRANSPORT: stages could not reach one another
 * @PT_ERROR_NO_MEMORY: memory that was asked for is not to be had
 * @PT_ERROR_FAILED: anything else
 */
typedef enum
{
  PT_ERROR_CONFIG,
  PT_ERROR_SHAPE,
  PT_ERROR_UNSUPPORTED,
  PT_ERROR_FILE,
  PT_ERROR_DEVICE,
  PT_ERROR_TRANSPORT,
  PT_ERROR_NO_MEMORY,
  PT_ERROR_FAILED,
} PtError;

PT_API GQuark pt_error_quark (void);

G_END_DECLS
