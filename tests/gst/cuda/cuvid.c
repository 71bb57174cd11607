/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A libnvcuvid.so.1 that decodes nothing: without one, GStreamer has no
 * cudaupload either. */

#define REFUSE(name)                                                         \
  __attribute__ ((visibility ("default"))) int name (void);                  \
  int                                                                        \
  name (void)                                                                \
  {                                                                          \
    return 801;                 /* CUDA_ERROR_NOT_SUPPORTED */               \
  }

REFUSE (cuvidCtxLockCreate)
REFUSE (cuvidCtxLockDestroy)
REFUSE (cuvidCtxLock)
REFUSE (cuvidCtxUnlock)
REFUSE (cuvidCreateDecoder)
REFUSE (cuvidDestroyDecoder)
REFUSE (cuvidDecodePicture)
REFUSE (cuvidCreateVideoParser)
REFUSE (cuvidParseVideoData)
REFUSE (cuvidDestroyVideoParser)
REFUSE (cuvidMapVideoFrame64)
REFUSE (cuvidUnmapVideoFrame64)
REFUSE (cuvidGetDecoderCaps)
