// rosidl_typesupport_c for the messages, services and actions of the pip build. The stock dispatcher opens
// lib<package>__<type support>.so by name; here both type supports live in the extension itself.
#include <stddef.h>
#include <string.h>

#include "action_msgs/msg/goal_status_array.h"
#include "action_msgs/srv/cancel_goal.h"
#include "rosidl_runtime_c/action_type_support_struct.h"
#include "rosidl_runtime_c/message_type_support_struct.h"
#include "rosidl_runtime_c/service_type_support_struct.h"
#include "rosidl_typesupport_interface/macros.h"

#define MESSAGE_HANDLE(TYPESUPPORT, PACKAGE, FOLDER, NAME) \
  ROSIDL_TYPESUPPORT_INTERFACE__MESSAGE_SYMBOL_NAME(TYPESUPPORT, PACKAGE, FOLDER, NAME)
#define SERVICE_HANDLE(TYPESUPPORT, PACKAGE, FOLDER, NAME) \
  ROSIDL_TYPESUPPORT_INTERFACE__SERVICE_SYMBOL_NAME(TYPESUPPORT, PACKAGE, FOLDER, NAME)
#define ACTION_HANDLE(TYPESUPPORT, PACKAGE, FOLDER, NAME) \
  ROSIDL_TYPESUPPORT_INTERFACE__ACTION_SYMBOL_NAME(TYPESUPPORT, PACKAGE, FOLDER, NAME)

// Of both kinds alike: the handles of the two type supports, and the function that chooses between them.
#define CHOICE(KIND, HANDLE, PACKAGE, FOLDER, NAME) \
  const KIND * HANDLE(rosidl_typesupport_fastrtps_c, PACKAGE, FOLDER, NAME)(void); \
  const KIND * HANDLE(rosidl_typesupport_introspection_c, PACKAGE, FOLDER, NAME)(void); \
  static const KIND * NAME##__choose(const KIND * self, const char * identifier) \
  { \
    if (strcmp(identifier, "rosidl_typesupport_fastrtps_c") == 0) { \
      return HANDLE(rosidl_typesupport_fastrtps_c, PACKAGE, FOLDER, NAME)(); \
    } \
    if (strcmp(identifier, "rosidl_typesupport_introspection_c") == 0) { \
      return HANDLE(rosidl_typesupport_introspection_c, PACKAGE, FOLDER, NAME)(); \
    } \
    return strcmp(identifier, self->typesupport_identifier) == 0 ? self : NULL; \
  }

#define DESCRIPTION(PACKAGE, FOLDER, NAME) \
  .get_type_hash_func = &PACKAGE##__##FOLDER##__##NAME##__get_type_hash, \
  .get_type_description_func = &PACKAGE##__##FOLDER##__##NAME##__get_type_description, \
  .get_type_description_sources_func = &PACKAGE##__##FOLDER##__##NAME##__get_type_description_sources

#define DISPATCH_MESSAGE(PACKAGE, FOLDER, NAME) \
  CHOICE(rosidl_message_type_support_t, MESSAGE_HANDLE, PACKAGE, FOLDER, NAME) \
  const rosidl_message_type_support_t * MESSAGE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME)(void) \
  { \
    static const rosidl_message_type_support_t handle = { \
      .typesupport_identifier = "rosidl_typesupport_c", \
      .func = NAME##__choose, \
      DESCRIPTION(PACKAGE, FOLDER, NAME), \
    }; \
    return &handle; \
  }

// What is filled in below is not constant to the compiler. Each call writes the same values, so that threads may race.
#define DISPATCH_SERVICE(PACKAGE, FOLDER, NAME) \
  CHOICE(rosidl_service_type_support_t, SERVICE_HANDLE, PACKAGE, FOLDER, NAME) \
  const rosidl_service_type_support_t * SERVICE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME)(void) \
  { \
    static rosidl_service_type_support_t handle = { \
      .typesupport_identifier = "rosidl_typesupport_c", \
      .func = NAME##__choose, \
      .event_message_create_handle_function = \
        ROSIDL_TYPESUPPORT_INTERFACE__SERVICE_CREATE_EVENT_MESSAGE_SYMBOL_NAME( \
        rosidl_typesupport_c, PACKAGE, FOLDER, NAME), \
      .event_message_destroy_handle_function = \
        ROSIDL_TYPESUPPORT_INTERFACE__SERVICE_DESTROY_EVENT_MESSAGE_SYMBOL_NAME( \
        rosidl_typesupport_c, PACKAGE, FOLDER, NAME), \
      DESCRIPTION(PACKAGE, FOLDER, NAME), \
    }; \
    handle.request_typesupport = MESSAGE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME##_Request)(); \
    handle.response_typesupport = MESSAGE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME##_Response)(); \
    handle.event_typesupport = MESSAGE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME##_Event)(); \
    return &handle; \
  }

#define DISPATCH_ACTION(PACKAGE, FOLDER, NAME) \
  const rosidl_action_type_support_t * ACTION_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME)(void) \
  { \
    static rosidl_action_type_support_t handle = { DESCRIPTION(PACKAGE, FOLDER, NAME) }; \
    handle.goal_service_type_support = \
      SERVICE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME##_SendGoal)(); \
    handle.result_service_type_support = \
      SERVICE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME##_GetResult)(); \
    handle.cancel_service_type_support = SERVICE_HANDLE(rosidl_typesupport_c, action_msgs, srv, CancelGoal)(); \
    handle.feedback_message_type_support = \
      MESSAGE_HANDLE(rosidl_typesupport_c, PACKAGE, FOLDER, NAME##_FeedbackMessage)(); \
    handle.status_message_type_support = MESSAGE_HANDLE(rosidl_typesupport_c, action_msgs, msg, GoalStatusArray)(); \
    return &handle; \
  }
