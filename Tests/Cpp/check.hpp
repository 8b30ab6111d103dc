// What the C++ programs of this folder check with.
#ifndef SWIFTDPO_TESTS_CHECK_HPP
#define SWIFTDPO_TESTS_CHECK_HPP

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include "swiftdpo.hpp"

inline int passed = 0;
inline int failed = 0;

inline void check(bool holds, const char *condition, int line) {
  holds ? ++passed : ++failed;
  if (!holds)
    std::printf("%s:%d: %s\n", __FILE__, line, condition);
}
#define CHECK(condition) check((condition), #condition, __LINE__)

/// What a call throws must name the status, the field and the element.
template <class Call>
void check_refused(swiftdpo_status status, const char *argument, std::size_t index, int line, Call call) {
  try {
    call();
    check(false, "it was not refused", line);
  } catch (const swiftdpo::error &error) {
    check(error.status() == status && std::strcmp(error.argument(), argument) == 0 && error.index() == index,
          error.what(), line);
  }
}
#define CHECK_REFUSED(status, argument, index, ...) \
  check_refused(SWIFTDPO_ERROR_##status, argument, index, __LINE__, [&] { __VA_ARGS__; })

template <class T> std::vector<T> some_values(std::size_t count, double low, double high, unsigned seed) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<T>(low + (high - low) * static_cast<double>((i * 7919 + seed * 104729) % 997) / 997);
  return values;
}

#endif
