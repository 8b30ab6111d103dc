/* What the memory of this machine can do: the plainest kernels that read a large array, or read and write it in place.
 * Built by benchmarks/logits.py with the machine's own instruction set. */
#include <pthread.h>
#include <stddef.h>

typedef struct {
  float *start;
  size_t count;
  float result;
} part;

static void *read_part(void *argument) {
  part *p = argument;
  float lanes[64] = {0};
  for (size_t i = 0; i + 64 <= p->count; i += 64)
    for (int lane = 0; lane < 64; lane++)
      lanes[lane] += p->start[i + (size_t)lane];
  for (int lane = 0; lane < 64; lane++)
    p->result += lanes[lane];
  return NULL;
}

static void *scale_part(void *argument) {
  part *p = argument;
  for (size_t i = 0; i < p->count; i++)
    p->start[i] *= 0.99999994f;
  return NULL;
}

static float run(void *(*body)(void *), float *array, size_t count, int threads) {
  enum { MOST = 64 };
  part parts[MOST];
  pthread_t ids[MOST];
  const size_t share = count / (size_t)threads / 64 * 64;
  for (int i = 0; i < threads; i++)
    parts[i] = (part){array + (size_t)i * share, share, 0};
  for (int i = 1; i < threads; i++)
    pthread_create(&ids[i], NULL, body, &parts[i]);
  body(&parts[0]);
  float result = parts[0].result;
  for (int i = 1; i < threads; i++) {
    pthread_join(ids[i], NULL);
    result += parts[i].result;
  }
  return result;
}

float bandwidth_read(float *array, size_t count, int threads) { return run(read_part, array, count, threads); }
float bandwidth_scale(float *array, size_t count, int threads) { return run(scale_part, array, count, threads); }
