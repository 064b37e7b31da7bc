/* weir.h - everything of weir: shared-memory sections, rings and channels. */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <weir/base/status.h>
#include <weir/base/version.h>
#include <weir/ipc/channel.h>
#include <weir/ipc/observer.h>
#include <weir/ipc/mailbox.h>
#include <weir/naming/file.h>
#include <weir/naming/list.h>
#include <weir/naming/name.h>
#include <weir/naming/participant.h>
#include <weir/naming/registry.h>
#include <weir/naming/section.h>
#include <weir/naming/unnamed.h>
#include <weir/naming/view.h>
#include <weir/ring/broadcast.h>
#include <weir/ring/broadcast_gated.h>
#include <weir/ring/latest.h>
#include <weir/ring/mpmc.h>
#include <weir/ring/mpsc.h>
#include <weir/ring/mpsc_ordered.h>
#include <weir/ring/spsc.h>

#endif
