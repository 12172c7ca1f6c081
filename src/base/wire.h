/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.h - integers with a fixed byte order
 *
 * They are structs, so arithmetic on them does not compile; hosts are little-endian, see below.
 * All have alignment 1, so structs made of them have no padding.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian hosts only"
#endif

typedef struct { uint8_t b[2]; } le16;
typedef struct { uint8_t b[4]; } le32;
typedef struct { uint8_t b[8]; } le64;
typedef struct { uint8_t b[2]; } be16;
typedef struct { uint8_t b[4]; } be32;
typedef struct { uint8_t b[8]; } be64;

#define WIRE_TYPE(type, native, swap)                   \
	static inline native type##_get(type x)         \
	{                                               \
		native v;                               \
		memcpy(&v, x.b, sizeof(v));             \
		return swap(v);                         \
	}                                               \
	static inline type type##_of(native v)          \
	{                                               \
		type x;                                 \
		v = swap(v);                            \
		memcpy(x.b, &v, sizeof(v));             \
		return x;                               \
	}

#define WIRE_SAME(v) (v)
WIRE_TYPE(le16, uint16_t, WIRE_SAME)
WIRE_TYPE(le32, uint32_t, WIRE_SAME)
WIRE_TYPE(le64, uint64_t, WIRE_SAME)
WIRE_TYPE(be16, uint16_t, __builtin_bswap16)
WIRE_TYPE(be32, uint32_t, __builtin_bswap32)
WIRE_TYPE(be64, uint64_t, __builtin_bswap64)
#undef WIRE_SAME
#undef WIRE_TYPE
