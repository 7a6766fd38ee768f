# starling_flags: everything the compiler is told, as an INTERFACE target. Linked privately by the functions of
# StarlingTargets.cmake, so that nothing of it reaches who links our libraries from outside.

option(STARLING_WERROR "Warnings are errors (every preset sets it)" OFF)
set(STARLING_SANITIZE "" CACHE STRING "Argument of -fsanitize=, e.g. address,undefined or thread")

add_library(starling_flags INTERFACE)
target_compile_features(starling_flags INTERFACE cxx_std_20)
target_compile_definitions(starling_flags INTERFACE STARLING_VERSION="${PROJECT_VERSION}")

target_compile_options(starling_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wcast-align -Wformat=2
  -Wnull-dereference -Wnon-virtual-dtor -Woverloaded-virtual -Wdouble-promotion -Wimplicit-fallthrough
  # Designated initialisers leave members to their defaults on purpose.
  -Wno-missing-field-initializers
  # Replicas must agree bit for bit: never fuse a multiply and an add, in no folder and on no CPU.
  -ffp-contract=off
  # Messages of CHECK name files of the source tree, wherever it was built (ccache makes the paths relative).
  -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/= -fmacro-prefix-map=../../=
  # Enough for stack traces with line numbers; full debug information triples what is written to disk.
  $<$<CONFIG:RelWithDebInfo>:-g1>
  $<$<CONFIG:RelWithDebInfo>:-fstack-protector-strong>
  $<$<CONFIG:Debug>:-Og>)
target_compile_definitions(starling_flags INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(starling_flags INTERFACE
    -Wlogical-op -Wduplicated-cond
    # g++ 12 reports `"text" + std::string` as overlapping memory (GCC bug 105651).
    -Wno-restrict
    # g++ 12 cannot follow the string inside a StatusOr through std::move and calls it uninitialised; clang-tidy looks for the real ones.
    -Wno-maybe-uninitialized)
else()
  target_compile_options(starling_flags INTERFACE
    -Wthread-safety
    # GoogleTest's suite macros take an optional last argument.
    -Wno-gnu-zero-variadic-macro-arguments)
endif()

if(STARLING_WERROR)
  target_compile_options(starling_flags INTERFACE -Werror)
endif()

if(STARLING_SANITIZE)
  target_compile_options(starling_flags INTERFACE
    -fsanitize=${STARLING_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  target_compile_definitions(starling_flags INTERFACE _GLIBCXX_ASSERTIONS)
  target_link_options(starling_flags INTERFACE -fsanitize=${STARLING_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumentation hides from g++ what it knew; its manual says these two then warn for nothing. The plain builds keep them.
    target_compile_options(starling_flags INTERFACE -Wno-maybe-uninitialized -Wno-null-dereference)
  endif()
endif()
