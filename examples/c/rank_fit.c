/*
 * Who drove best in the 2002 NASCAR season? Plackett-Luce worths by gradient ascent, with libc and libswiftdpo alone.
 *
 *   cc -O2 rank_fit.c $(pkg-config --cflags --libs swiftdpo) -lm -o rank_fit && ./rank_fit nascar2002.json
 *
 * Each race is a lottery without replacement, in which a driver of log-worth s is drawn next with probability
 * proportional to exp(s). swiftdpo_plackett_luce_loss_f64 gives minus the log-likelihood of the season and its gradient;
 * the rest is a climb. Hunter (2004), "MM algorithms for generalized Bradley-Terry models", made this the standard
 * example.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <swiftdpo.h>

enum { MOST_DRIVERS = 128, MOST_RACES = 64, MOST_STARTS = 4096, MEMORY = 10 };

/* Of the log-likelihood, checked in 40-digit arithmetic; the worths there are the published ones, to their 8 decimals. */
static const double maximum = -4191.0972845972577;

typedef struct season {
  size_t num_drivers, num_races;
  char names[MOST_DRIVERS][40];
  int64_t starters[MOST_STARTS]; /* of all races, each from winner to last */
  int64_t offsets[MOST_RACES + 1];
} season;

static void demand(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "rank_fit: %s\n", what);
    exit(1);
  }
}

static char *read_file(const char *path) {
  FILE *const file = fopen(path, "rb");
  demand(file != NULL, "cannot open the file of races");
  static char text[1 << 16];
  const size_t length = fread(text, 1, sizeof text - 1, file);
  demand(feof(file) && !ferror(file), "the file of races is too long");
  fclose(file);
  text[length] = '\0';
  return text;
}

/* What follows `key` in a JSON object that is laid out as data/nascar2002.json is. */
static const char *value_of(const char *text, const char *key) {
  const char *const found = strstr(text, key);
  demand(found != NULL, "the file lacks drivers or races");
  return found + strlen(key);
}

static void read_drivers(season *s, const char *at) {
  for (; *at != ']'; at++) {
    demand(*at != '\0', "the list of drivers does not end");
    if (*at != '"')
      continue;
    const size_t length = strcspn(++at, "\"");
    demand(at[length] == '"' && s->num_drivers < MOST_DRIVERS && length < sizeof s->names[0], "too many drivers");
    memcpy(s->names[s->num_drivers], at, length);
    s->names[s->num_drivers++][length] = '\0';
    at += length;
  }
}

static void read_races(season *s, const char *at) {
  size_t starts = 0;
  for (int depth = 1; depth > 0;) {
    if (isdigit((unsigned char)*at)) {
      char *end;
      const long driver = strtol(at, &end, 10);
      demand(starts < MOST_STARTS && driver < (long)s->num_drivers, "a race has a driver who is not listed");
      s->starters[starts++] = driver;
      at = end;
      continue;
    }
    demand(*at != '\0' && s->num_races < MOST_RACES, "the list of races does not end");
    if (*at == '[')
      depth++;
    if (*at++ == ']' && --depth == 1)
      s->offsets[++s->num_races] = (int64_t)starts;
  }
}

/* Leaves out drivers who came last wherever they started: no log-worth is low enough for them. */
static void drop_hopeless(season *s) {
  int64_t number[MOST_DRIVERS];
  int hopeful[MOST_DRIVERS] = {0};
  for (size_t race = 0; race < s->num_races; race++)
    for (int64_t i = s->offsets[race]; i + 1 < s->offsets[race + 1]; i++)
      hopeful[s->starters[i]] = 1;

  size_t drivers = 0;
  printf("left out, last wherever they started:");
  for (size_t i = 0; i < s->num_drivers; i++) {
    if (hopeful[i]) {
      number[i] = (int64_t)drivers;
      memmove(s->names[drivers++], s->names[i], sizeof s->names[i]);
    } else {
      printf(" %s;", s->names[i]);
    }
  }
  printf("\n\n");
  s->num_drivers = drivers;

  int64_t kept = 0, next = 0;
  for (size_t race = 0; race < s->num_races; race++) {
    for (; next < s->offsets[race + 1]; next++)
      if (hopeful[s->starters[next]])
        s->starters[kept++] = number[s->starters[next]];
    s->offsets[race + 1] = kept;
  }
}

/* The log-likelihood of the season, and its gradient by the log-worths. */
static double log_likelihood(const season *s, const double *log_worths, double *gradient) {
  double loss;
  swiftdpo_rankings_f64 races = SWIFTDPO_RANKINGS_F64_INIT;
  races.num_groups = s->num_races;
  races.offsets = s->offsets;
  races.rankings = s->starters;
  races.num_shared_items = s->num_drivers;
  races.policy_logps = log_worths;
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  options.beta = 1;
  options.reduction = SWIFTDPO_REDUCTION_SUM;
  options.unlisted = SWIFTDPO_UNLISTED_ABSENT; /* who did not start was not there to win */
  swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  results.loss = &loss;
  results.grad_policy_logps = gradient;

  swiftdpo_culprit culprit;
  const swiftdpo_status status = swiftdpo_plackett_luce_loss_f64(&races, &options, &results, &culprit);
  if (status != SWIFTDPO_OK) {
    fprintf(stderr, "%s[%zu]: %s\n", culprit.argument, culprit.index, swiftdpo_status_string(status));
    exit(1);
  }
  for (size_t i = 0; i < s->num_drivers; i++)
    gradient[i] = -gradient[i];
  return -loss;
}

static double dot(const double *x, const double *y, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += x[i] * y[i];
  return sum;
}

/*
 * Gradient ascent with the steps of Barzilai and Borwein (1988), which the last two gradients suggest. A step may lose
 * a little, but must gain on the worst of the last ten (Grippo, Lampariello and Lucidi 1986), or is halved.
 * A constant added to all log-worths changes nothing, and the gradient never points that way: their mean stays 0.
 */
static double climb(const season *s, double *log_worths, int *evaluations) {
  const size_t n = s->num_drivers;
  double gradient[MOST_DRIVERS], next[MOST_DRIVERS], next_gradient[MOST_DRIVERS], recent[MEMORY];
  for (size_t i = 0; i < n; i++)
    log_worths[i] = 0;
  double value = log_likelihood(s, log_worths, gradient), step = 1e-3;
  *evaluations = 1;
  for (int k = 0; k < MEMORY; k++)
    recent[k] = value;

  for (int k = 1; k <= 10000; k++) {
    const double steepness = dot(gradient, gradient, n);
    if (steepness < 1e-16)
      return value;
    double worst = recent[0];
    for (int j = 1; j < MEMORY; j++)
      worst = fmin(worst, recent[j]);

    double next_value;
    for (;; step /= 2) {
      for (size_t i = 0; i < n; i++)
        next[i] = log_worths[i] + step * gradient[i];
      next_value = log_likelihood(s, next, next_gradient);
      ++*evaluations;
      /* At the summit the gain is lost in rounding. */
      if (next_value >= worst + 1e-4 * step * steepness - 1e-11)
        break;
      demand(step > 1e-12, "no step uphill is found");
    }

    double curvature = 0;
    for (size_t i = 0; i < n; i++)
      curvature += (next[i] - log_worths[i]) * (gradient[i] - next_gradient[i]);
    step = curvature > 0 ? step * step * steepness / curvature : 1;
    memcpy(log_worths, next, n * sizeof *next);
    memcpy(gradient, next_gradient, n * sizeof *next);
    recent[k % MEMORY] = value = next_value;
  }
  demand(0, "the climb does not end");
  return value;
}

typedef struct driver {
  double worth;
  const char *name;
} driver;

static int by_worth(const void *a, const void *b) {
  const double x = ((const driver *)a)->worth, y = ((const driver *)b)->worth;
  return (x < y) - (x > y);
}

int main(int argc, char **argv) {
  demand(argc == 2, "usage: rank_fit nascar2002.json");
  demand(SWIFTDPO_CHECK_VERSION(), "the library is older than the header");
  static season s;
  const char *const text = read_file(argv[1]);
  read_drivers(&s, value_of(text, "\"drivers\": ["));
  read_races(&s, value_of(text, "\"races\": ["));
  printf("%zu races, %zu drivers\n", s.num_races, s.num_drivers);
  drop_hopeless(&s);

  double log_worths[MOST_DRIVERS], total = 0;
  int evaluations;
  const double value = climb(&s, log_worths, &evaluations);
  for (size_t i = 0; i < s.num_drivers; i++)
    total += exp(log_worths[i]);

  driver drivers[MOST_DRIVERS];
  for (size_t i = 0; i < s.num_drivers; i++)
    drivers[i] = (driver){exp(log_worths[i]) / total, s.names[i]};
  qsort(drivers, s.num_drivers, sizeof *drivers, by_worth);
  for (size_t rank = 0; rank < s.num_drivers; rank++)
    printf("%2zu  %-24s%.10f\n", rank + 1, drivers[rank].name, drivers[rank].worth);

  const double error = fabs(value / maximum - 1);
  printf("\nlog-likelihood %.10f after %d evaluations: %.0e from the maximum, relatively\n", value, evaluations, error);
  return error <= 1e-9 ? 0 : 1;
}
