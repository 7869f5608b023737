/* Local response normalization (section 3.3) and the cropping of section 4.1, for CPUs.

   Compiled when first used, by whatever C compiler the machine has (kernels/build.py). Cropping
   rounds in the order of the torch operations that it stands in for, so in float32 its pixels are
   equal to the last bit; contraction to fused multiply-adds is switched off for that. bfloat16 is
   read and written, and computed in float32. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif
#define PRAGMA(text) _Pragma(#text)

INLINE float from_bf16(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, 4);
    return wide;
}

INLINE bf16 to_bf16(float value) { /* to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (bf16)(value != value ? 0x7fc0 : rounded);
}

INLINE float same(float value) { return value; }

/* Sums of 2 * half + 1 neighbors, `step` apart: of pairs, in ascending order, and of the last one.
   `in` has a border of zeros. */
INLINE void window(const float *restrict in, float *restrict out, int64_t count, int64_t step,
                   int half) {
    in -= half * step;
    if (half == 2) {
        for (int64_t i = 0; i < count; i++)
            out[i] = (in[i] + in[i + step]) + (in[i + 2 * step] + in[i + 3 * step]) +
                     in[i + 4 * step];
        return;
    }
    for (int64_t i = 0; i < count; i++) out[i] = half ? in[i] + in[i + step] : in[i];
    for (int d = 2; d < 2 * half; d += 2)
        for (int64_t i = 0; i < count; i++) out[i] += in[i + d * step] + in[i + (d + 1) * step];
    for (int64_t i = 0; half && i < count; i++) out[i] += in[i + 2 * half * step];
}

/* What is computed at once, in rows of `lanes` values that begin `pitch` apart. In channels-last
   memory a row is the maps of one tower at one pixel, with zeros behind it; in planes it is some
   pixels of one map, and there are as many rows as the tower has maps. */
typedef struct {
    float *restrict values, *restrict squares, *restrict sums, *restrict roots, *restrict grads,
        *restrict out;
} Tile;

INLINE void normalize(Tile t, int64_t count, int64_t step, int half, float alpha, float k) {
    for (int64_t i = 0; i < count; i++) t.squares[i] = t.values[i] * t.values[i];
    window(t.squares, t.sums, count, step, half);
    for (int64_t i = 0; i < count; i++) {
        t.sums[i] = t.sums[i] * alpha + k;
        float root = 1.0f / sqrtf(t.sums[i]);
        t.roots[i] = 1.0f / sqrtf(t.sums[i] * root) * root;
        t.out[i] = t.roots[i] * t.values[i];
    }
}

/* d b_j / d a_i = [i=j] base_j^-.75 + factor a_i a_j base_j^-1.75, factor = -2 alpha .75 */
INLINE void gradient(Tile t, int64_t count, int64_t step, int half, float factor) {
    for (int64_t i = 0; i < count; i++) {
        t.out[i] = t.roots[i] * t.grads[i];
        t.squares[i] = t.out[i] * t.values[i] / t.sums[i];
    }
    window(t.squares, t.sums, count, step, half);
    for (int64_t i = 0; i < count; i++) t.out[i] += t.sums[i] * t.values[i] * factor;
}

#define LANES 256
#define ROWS 32

/* grad is null in the forward pass; rows lie `stride` apart in memory. */
#define DEFINE_LRN(NAME, T, FROM, TO)                                                                  \
    INLINE void take_##NAME(const T *restrict from, float *restrict to, int64_t rows,              \
                            int64_t lanes, int64_t stride, int64_t pitch, int relu) {              \
        for (int64_t row = 0; row < rows; row++)                                                   \
            for (int64_t i = 0; i < lanes; i++) {                                                  \
                float value = FROM(from[row * stride + i]);                                        \
                to[row * pitch + i] = relu && value < 0 ? 0 : value;                               \
            }                                                                                      \
    }                                                                                              \
                                                                                                   \
    INLINE void tile_##NAME(Tile t, const T *x, const T *grad, T *restrict result, int64_t rows,   \
                            int64_t lanes, int64_t stride, int64_t pitch, int64_t step, int half,  \
                            float alpha, float k, float factor, int relu) {                        \
        int64_t count = rows * pitch;                                                              \
        take_##NAME(x, t.values, rows, lanes, stride, pitch, relu);                                \
        memset(t.squares + count, 0, (size_t)(half * step) * sizeof(float));                       \
        normalize(t, count, step, half, alpha, k);                                                 \
        if (grad) {                                                                                \
            take_##NAME(grad, t.grads, rows, lanes, stride, pitch, 0);                             \
            gradient(t, count, step, half, factor);                                                \
            if (relu)                                                                              \
                for (int64_t i = 0; i < count; i++) t.out[i] = t.values[i] <= 0 ? 0 : t.out[i];    \
        }                                                                                          \
        for (int64_t row = 0; row < rows; row++)                                                   \
            for (int64_t i = 0; i < lanes; i++)                                                    \
                result[row * stride + i] = TO(t.out[row * pitch + i]);                             \
    }                                                                                              \
                                                                                                   \
    /* x, grad, result: (outer, maps, inner) contiguous; channels-last memory has inner 1. */      \
    int lrn_##NAME(const T *x, const T *grad, T *result, int64_t outer, int64_t maps,              \
                   int64_t inner, int half, float alpha, float k, float factor, int relu,          \
                   int threads) {                                                                  \
        int last = inner == 1;                                                                     \
        int64_t pitch = maps + half, width = inner < LANES ? inner : LANES;                        \
        int64_t blocks = last ? (outer + ROWS - 1) / ROWS : (inner + width - 1) / width;           \
        int64_t tiles = last ? blocks : outer * blocks;                                            \
        int64_t edge = half * width, size = 2 * edge + (last ? ROWS * pitch : maps * width);       \
        int failed = 0;                                                                            \
        PRAGMA(omp parallel num_threads(threads)) {                                                \
            float *room = calloc((size_t)(6 * size), sizeof(float));                               \
            if (!room) failed = 1;                                                                 \
            Tile t = {room, room + size + edge, room + 2 * size, room + 3 * size,                  \
                      room + 4 * size, room + 5 * size};                                           \
            PRAGMA(omp for schedule(static))                                                       \
            for (int64_t tile = 0; tile < tiles; tile++) {                                         \
                if (!room) continue;                                                               \
                int64_t block = tile % blocks;                                                     \
                if (last) {                                                                        \
                    int64_t row = block * ROWS, rows = outer - row < ROWS ? outer - row : ROWS;    \
                    int64_t at = row * maps;                                                       \
                    tile_##NAME(t, x + at, grad ? grad + at : 0, result + at, rows, maps, maps,    \
                                pitch, 1, half, alpha, k, factor, relu);                           \
                } else {                                                                           \
                    int64_t start = block * width;                                                 \
                    int64_t lanes = inner - start < width ? inner - start : width;                 \
                    int64_t at = tile / blocks * maps * inner + start;                             \
                    tile_##NAME(t, x + at, grad ? grad + at : 0, result + at, maps, lanes,       \
                                inner, width, width, half, alpha, k, factor, relu);                \
                }                                                                                  \
            }                                                                                      \
            free(room);                                                                            \
        }                                                                                          \
        return failed;                                                                             \
    }

/* out (count, size, size, channels): (image - mean + noise) * scale over the image's crop, mirrored
   where flip says so. images: addresses of (side, side, channels); mean alike; noise (count,
   channels) or null. */
#define DEFINE_CROP(NAME, T, TO)                                                                   \
    int crop_##NAME(const uint8_t *const *images, const int64_t *top, const int64_t *left,         \
                    const uint8_t *flip, const float *restrict mean, const float *noise,           \
                    float scale, T *out, int64_t count, int64_t side, int64_t size,                \
                    int64_t channels, int threads) {                                               \
        int64_t width = size * channels;                                                           \
        int failed = 0;                                                                            \
        PRAGMA(omp parallel num_threads(threads)) {                                                \
            float *restrict row = calloc((size_t)(2 * width), sizeof(float));                      \
            float *restrict shift = row + width;                                                   \
            if (!row) failed = 1;                                                                  \
            PRAGMA(omp for schedule(static))                                                       \
            for (int64_t n = 0; n < count; n++) {                                                  \
                if (!row) continue;                                                                \
                for (int64_t i = 0; noise && i < width; i++)                                       \
                    shift[i] = noise[n * channels + i % channels];                                 \
                for (int64_t y = 0; y < size; y++) {                                               \
                    int64_t at = ((top[n] + y) * side + left[n]) * channels;                       \
                    const uint8_t *restrict from = images[n] + at;                                 \
                    const float *restrict center = mean + at;                                      \
                    T *restrict to = out + (n * size + y) * width;                                 \
                    for (int64_t i = 0; i < width; i++)                                            \
                        row[i] = ((float)from[i] - center[i] + shift[i]) * scale;                  \
                    if (!flip[n])                                                                  \
                        for (int64_t i = 0; i < width; i++) to[i] = TO(row[i]);                    \
                    else if (channels == 3)                                                        \
                        for (int64_t x = 0; x < size; x++)                                         \
                            for (int64_t c = 0; c < 3; c++)                                        \
                                to[3 * x + c] = TO(row[3 * (size - 1 - x) + c]);                   \
                    else                                                                           \
                        for (int64_t x = 0; x < size; x++)                                         \
                            for (int64_t c = 0; c < channels; c++)                                 \
                                to[channels * x + c] = TO(row[channels * (size - 1 - x) + c]);     \
                }                                                                                  \
            }                                                                                      \
            free(row);                                                                             \
        }                                                                                          \
        return failed;                                                                             \
    }

DEFINE_LRN(float, float, same, same)
DEFINE_LRN(bf16, bf16, from_bf16, to_bf16)
DEFINE_CROP(float, float, same)
DEFINE_CROP(bf16, bf16, to_bf16)
