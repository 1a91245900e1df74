'''NetworkManager with a camera's hotspot: extends python-dbusmock's networkmanager template, which activates at once,
checks no password, assigns no address, and lacks AddAndActivateConnection2.

SetHotspot chooses the password and the fault: no-lease, gone, old-version.
'''
# pylint: disable=wildcard-import,unused-wildcard-import
import dbus
import dbusmock
from dbusmock import MOCK_IFACE
from dbusmock.templates.networkmanager import *
from dbusmock.templates import networkmanager
from gi.repository import GLib

BUS_NAME = networkmanager.BUS_NAME
MAIN_OBJ = networkmanager.MAIN_OBJ
SYSTEM_BUS = True
IS_OBJECT_MANAGER = True
IP4_IFACE = 'org.freedesktop.NetworkManager.IP4Config'
DEVICE = networkmanager.DEVICE_IFACE

hotspot = {'password': '', 'fault': '', 'address': '', 'settings': None, 'options': None, 'owner': None}


def load(mock, parameters):
    networkmanager.load(mock, parameters)
    manager = dbusmock.get_object(MANAGER_OBJ)
    if not parameters.get('Old'):
        manager.AddMethods(MANAGER_IFACE, [('AddAndActivateConnection2', 'a{sa{sv}}ooa{sv}', 'ooa{sv}',
                                            'ret = self.add_and_activate_2(self, *args)')])
    manager.AddMethods(MANAGER_IFACE, [('DeactivateConnection', 'o', '', 'self.leave(self, args[0])'),
                                       ('ActivateConnection', 'ooo', 'o', 'ret = self.activate(self, *args)')])
    manager.add_and_activate_2 = add_and_activate_2
    manager.leave = leave
    manager.activate = activate


def state(device, value, reason=0):
    obj = dbusmock.get_object(device)
    old = obj.props[DEVICE]['State']
    obj.props[DEVICE]['State'] = dbus.UInt32(value)
    obj.EmitSignal(DEVICE, 'StateChanged', 'uuu', [dbus.UInt32(value), old, dbus.UInt32(reason)])


def add_and_activate_2(self, settings, device, point, options):
    hotspot['settings'] = settings
    hotspot['options'] = options
    profile = dbusmock.get_object(SETTINGS_OBJ).SettingsAddConnection(settings)
    # NetworkManager binds a volatile profile to the connection that asked for it.
    return (dbus.ObjectPath(profile), activate(self, profile, device, point), dbus.Dictionary({}, signature='sv'))


def activate(self, profile, device, point):
    settings = dbusmock.get_object(profile).settings
    obj = dbusmock.get_object(device)
    previous = obj.props[DEVICE]['ActiveConnection']
    if previous != '/':
        state(device, 110, 60)
        dbusmock.get_object(MANAGER_OBJ).RemoveActiveConnection(device, previous)
    count = hotspot.get('count', 0) + 1
    hotspot['count'] = count
    path = '/org/freedesktop/NetworkManager/ActiveConnection/c' + str(count)
    self.AddObject(path, ACTIVE_CONNECTION_IFACE, {
        'Connection': dbus.ObjectPath(profile), 'State': dbus.UInt32(1), 'Ip4Config': dbus.ObjectPath('/'),
        'Default': False, 'Devices': dbus.Array([dbus.ObjectPath(device)], signature='o'),
    }, [])
    manager = dbusmock.get_object(MANAGER_OBJ)
    manager.props[MANAGER_IFACE]['ActiveConnections'].append(dbus.ObjectPath(path))
    obj.props[DEVICE]['ActiveConnection'] = dbus.ObjectPath(path)
    psk = str(settings.get('802-11-wireless-security', {}).get('psk', ''))
    ours = settings['connection']['id'].startswith('towpath-')
    steps = [(state, device, 40), (state, device, 50)]
    if ours and psk != hotspot['password']:
        steps += [(state, device, 60, 8), (fail, device, path, 7)]
    elif ours and hotspot['fault'] == 'no-lease':
        steps += [(state, device, 70), (fail, device, path, 5)]
    elif ours and hotspot['fault'] == 'stuck':
        pass
    else:
        steps += [(state, device, 70), (state, device, 80), (lease, path), (state, device, 100)]
    for number, (step, *args) in enumerate(steps):
        GLib.timeout_add(15 * (number + 1), once, step, *args)
    return dbus.ObjectPath(path)


def once(step, *args):
    # The connection may have been deactivated meanwhile.
    try:
        step(*args)
    except KeyError:
        pass
    return False


def lease(active):
    config = active.replace('ActiveConnection', 'IP4Config')
    dbusmock.get_object(MANAGER_OBJ).AddObject(config, IP4_IFACE, {
        'AddressData': dbus.Array([dbus.Dictionary({'address': dbus.String(hotspot['address'], variant_level=1),
                                                    'prefix': dbus.UInt32(24, variant_level=1)}, signature='sv')],
                                  signature='a{sv}'),
        'Gateway': '',
    }, [])
    dbusmock.get_object(active).props[ACTIVE_CONNECTION_IFACE]['Ip4Config'] = dbus.ObjectPath(config)


def fail(device, active, reason):
    state(device, 120, reason)
    remove(device, active)
    state(device, 30)


def remove(device, active):
    manager = dbusmock.get_object(MANAGER_OBJ)
    active_connections = manager.props[MANAGER_IFACE]['ActiveConnections']
    if active in active_connections:
        active_connections.remove(active)
        manager.RemoveObject(active)
    dbusmock.get_object(device).props[DEVICE]['ActiveConnection'] = dbus.ObjectPath('/')


def leave(_self, active):
    manager = dbusmock.get_object(MANAGER_OBJ)
    if active not in manager.props[MANAGER_IFACE]['ActiveConnections']:
        raise dbus.exceptions.DBusException('The connection was not active',
                                            name=MANAGER_IFACE + '.ConnectionNotActive')
    for device in manager.GetDevices():
        if dbusmock.get_object(device).props[DEVICE]['ActiveConnection'] == active:
            state(device, 110, 39)
            remove(device, active)
            state(device, 30, 39)


@dbus.service.method(MOCK_IFACE, in_signature='sss', out_signature='')
def SetHotspot(_self, password, address, fault):
    hotspot.update({'password': str(password), 'address': str(address), 'fault': str(fault)})


@dbus.service.method(MOCK_IFACE, in_signature='s', out_signature='')
def Vanish(_self, device):
    '''The hotspot is switched off while it is in use.'''
    active = dbusmock.get_object(device).props[DEVICE]['ActiveConnection']
    fail(device, active, 53)


@dbus.service.method(MOCK_IFACE, in_signature='', out_signature='a{sv}')
def Asked(_self):
    '''How the last profile was asked for.'''
    settings = hotspot['settings'] or {}
    said = {f'{group}.{key}': dbus.String(str(value), variant_level=1)
            for group, values in settings.items() for key, value in values.items() if key != 'psk'}
    said.update({key: dbus.String(str(value), variant_level=1) for key, value in (hotspot['options'] or {}).items()})
    return dbus.Dictionary(said, signature='sv')
