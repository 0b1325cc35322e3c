/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * Every struct of the ABI as a variable, so that the compiler describes it in the object's BTF: in
 * the real object it leaves out those that are only ever local. Compiled as the real one, never
 * loaded; abi_test.cc reads it.
 */
#include <linux/bpf.h>

#include "redirect-bpf/abi/weir_abi.h"

struct weir_config layout_config;
struct weir_endpoint layout_endpoint;
struct weir_identity_key layout_identity_key;
struct weir_policy_slot layout_policy_slot;
struct weir_policy_key layout_policy_key;
struct weir_policy_entry layout_policy_entry;
struct weir_learned_key layout_learned_key;
struct weir_learned_entry layout_learned_entry;
struct weir_ct_key layout_ct_key;
struct weir_ct_entry layout_ct_entry;
struct weir_join_config layout_join_config;
struct weir_join_state layout_join_state;
struct weir_births layout_births;
struct weir_name_key layout_name_key;
struct weir_kernel_layout layout_kernel_layout;
struct weir_event layout_event;
